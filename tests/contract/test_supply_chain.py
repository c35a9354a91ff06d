"""Locks: every version pinned by hash, none from a named place, none with a known vulnerability."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest

from tests.contract.supply_chain import ROOT, Advisory, Pin, advisories, findings, node_locks, pins, python_locks


def test_there_is_a_lock_for_everything_that_is_installed() -> None:
    names = {str(lock.relative_to(ROOT)) for lock in [*python_locks(), *node_locks()]}
    assert {"requirements/run.txt", "requirements/dev.txt", "codegen/requirements.txt"} <= names
    installed = re.findall(r"-r (\S+\.txt)", (ROOT / "Makefile").read_text())
    assert set(installed) <= names


@pytest.mark.parametrize("lock", python_locks(), ids=lambda lock: lock.name)
def test_every_python_package_is_pinned_by_hash(lock: Path) -> None:
    logical = lock.read_text().replace("\\\n", " ").splitlines()
    for line in logical:
        if line.strip() and not line.startswith("#"):
            assert re.match(r"[A-Za-z0-9._-]+(\[[^\]]*\])?==\S+ .*--hash=sha256:[0-9a-f]{64}", line), line[:100]


def test_every_npm_package_is_pinned_by_hash() -> None:
    for lock in node_locks():
        for path, package in json.loads(lock.read_text())["packages"].items():
            if path:
                assert package["integrity"].startswith("sha512-"), path


def test_no_lock_names_a_place_to_install_from() -> None:
    for lock in python_locks():
        text = lock.read_text()
        assert "://" not in text, lock
        assert "index-url" not in text, lock
    for lock in node_locks():
        for path, package in json.loads(lock.read_text())["packages"].items():
            assert "resolved" not in package, (lock, path)


def test_no_lock_has_a_known_vulnerability() -> None:
    assert findings(list(pins()), advisories()) == []


def test_each_advisory_is_of_a_package_that_is_locked() -> None:
    assert {advisory.package for advisory in advisories()} <= {pin.package for pin in pins()}


@pytest.mark.parametrize(
    ("version", "concerned"),
    [("4.25.8", True), ("5.29.5", True), ("5.29.6", False), ("6.33.4", True), ("6.33.5", False), ("7.36.2", False)],
)
def test_a_version_is_held_against_the_fix_of_its_branch(version: str, concerned: bool) -> None:
    advisory = Advisory("CVE-2026-0994", "protobuf", ("5.29.6", "6.33.5"), "recursion")
    pin = Pin(ROOT / "requirements" / "run.txt", "protobuf", version)
    assert bool(findings([pin], [advisory])) is concerned
