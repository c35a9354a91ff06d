"""Generates the Python stubs from proto/ into codegen/python, or into the given folder.

Runs in the environment locked by `codegen/requirements.txt`. Its grpcio-tools is old on purpose: generated code works with
runtimes as old as its generator and with all newer ones. Not run by `buf generate`, because the `grpc_python` generator exists
only inside grpcio-tools. The same input gives the same bytes.
"""

from __future__ import annotations

import shutil
import sys
import tempfile
from pathlib import Path

from grpc_tools import protoc

ROOT = Path(__file__).resolve().parent.parent
PROTO = ROOT / "proto"
DESTINATION = ROOT / "codegen" / "python"
PACKAGES = ("topten", "buf")
PLUGINS = ("protoc-gen-mypy", "protoc-gen-mypy_grpc")


def main(destination: Path) -> int:
    """Replace the generated packages in `destination`; return 0 on success."""
    sources = sorted(path.relative_to(PROTO).as_posix() for path in PROTO.rglob("*.proto"))
    services = [name for name in sources if name.endswith("_service.proto")]
    with tempfile.TemporaryDirectory() as folder:
        out = Path(folder)
        well_known = Path(protoc.__file__).parent / "_proto"
        plugins = [f"--plugin={name}={Path(sys.executable).parent / name}" for name in PLUGINS]
        common = ["protoc", f"-I{PROTO}", f"-I{well_known}", *plugins]
        steps = [
            [*common, f"--python_out={out}", f"--mypy_out=quiet:{out}", *sources],
            [*common, f"--grpc_python_out={out}", f"--mypy_grpc_out=quiet:{out}", *services],
            [*common, "--include_imports", f"--descriptor_set_out={out / 'topten' / 'topten.binpb'}", *sources],
        ]
        for step in steps:
            if status := protoc.main(step):
                return int(status)
        for package in PACKAGES:
            for folder_with_types in {path.parent for path in (out / package).rglob("*_pb2.pyi")}:
                (folder_with_types / "py.typed").touch()
            shutil.rmtree(destination / package, ignore_errors=True)
            shutil.copytree(out / package, destination / package)
    return 0


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1]) if len(sys.argv) > 1 else DESTINATION))
