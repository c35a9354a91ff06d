"""Adds the `.proto` files of the contracts to the wheel, beside the modules that are generated from them."""

from pathlib import Path

from hatchling.builders.hooks.plugin.interface import BuildHookInterface

PROTO = Path(__file__).resolve().parents[2] / "proto"


class ContractFiles(BuildHookInterface):
    """An editable install needs no copies: the contracts are in its own clone."""

    def initialize(self, version, build_data):
        if version == "standard":
            build_data["force_include"] |= {str(PROTO / package): package for package in ("topten", "buf")}
