"""The stubs: up to date with the contracts, of one version, and loadable on protobuf 5.27 to the newest."""

from __future__ import annotations

import filecmp
import json
import re
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

from codegen import build
from codegen.build import VERSION

ROOT = Path(__file__).parents[2]
STUBS = ROOT / "codegen" / "python"
GENERATOR = ROOT / ".venv-codegen" / "bin" / "python"
LOAD = """
import importlib, pathlib, sys
from google.protobuf import __version__
stubs = pathlib.Path(sys.argv[1])
for path in sorted(stubs.rglob("*_pb2*.py")):
    importlib.import_module(".".join(path.relative_to(stubs).with_suffix("").parts))
from topten.quiz.v1 import quiz_service_pb2
request = quiz_service_pb2.SubmitActionRequest(quiz_id="q")
assert quiz_service_pb2.SubmitActionRequest.FromString(request.SerializeToString()) == request
print(__version__)
"""


def generated(folder: Path) -> list[str]:
    return sorted(
        path.relative_to(folder).as_posix()
        for package in ("topten", "buf")
        for path in (folder / package).rglob("*")
        if path.is_file() and "__pycache__" not in path.parts
    )


def test_generating_python_again_changes_nothing(tmp_path: Path) -> None:
    if not GENERATOR.exists():
        subprocess.run(["make", ".venv-codegen/done"], cwd=ROOT, check=True)
    subprocess.run([GENERATOR, ROOT / "codegen" / "generate.py", tmp_path], check=True)
    assert generated(tmp_path) == generated(STUBS)
    _, differ, missing = filecmp.cmpfiles(tmp_path, STUBS, generated(STUBS), shallow=False)
    assert (differ, missing) == ([], []), "make gen"


def test_generating_go_again_changes_nothing(tmp_path: Path) -> None:
    buf = Path(sys.executable).parent / "buf"
    template = ROOT / "codegen" / "go" / "buf.gen.yaml"
    subprocess.run([buf, "generate", "--template", template, "-o", tmp_path], cwd=ROOT, check=True)
    generated_again, committed = tmp_path / "codegen" / "go", ROOT / "codegen" / "go"
    names = sorted(path.relative_to(generated_again).as_posix() for path in generated_again.rglob("*.go"))
    assert names == sorted(path.relative_to(committed).as_posix() for path in committed.rglob("*.pb.go"))
    _, differ, missing = filecmp.cmpfiles(generated_again, committed, names, shallow=False)
    assert (differ, missing) == ([], []), "make gen"


def test_the_wheel_carries_the_contracts_beside_the_modules(tmp_path: Path) -> None:
    build.python(tmp_path)
    (wheel,) = tmp_path.glob("*.whl")
    with zipfile.ZipFile(wheel) as archive:
        packed = {name: archive.read(name) for name in archive.namelist()}
    for path in (ROOT / "proto").rglob("*.proto"):
        name = path.relative_to(ROOT / "proto").as_posix()
        assert packed[name] == path.read_bytes()
        assert name.replace(".proto", "_pb2.py") in packed


def test_every_language_has_the_version_of_the_python_distribution() -> None:
    npm = ROOT / "codegen" / "typescript"
    pom = (ROOT / "codegen" / "java" / "pom.xml").read_text()
    assert json.loads((npm / "package.json").read_text())["version"] == VERSION
    assert json.loads((npm / "package-lock.json").read_text())["version"] == VERSION
    assert re.findall(r"^  <version>(.*)</version>", pom, re.MULTILINE) == [VERSION]


def test_the_java_generator_has_the_version_of_its_runtime() -> None:
    pinned = (ROOT / "codegen" / "java" / "plugin.sha256").read_text()
    (runtime,) = re.findall(r"<grpc.version>(.*)</grpc.version>", (ROOT / "codegen" / "java" / "pom.xml").read_text())
    assert f"protoc-gen-grpc-java-{runtime}-" in pinned


def test_stubs_load_on_the_newest_protobuf() -> None:
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", LOAD, STUBS], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    assert int(done.stdout.split(".")[0]) >= 7


@pytest.mark.slow
def test_stubs_load_on_the_oldest_supported_protobuf(tmp_path: Path) -> None:
    """Slow if the two wheels must be downloaded."""
    uv, python = Path(sys.executable).parent / "uv", tmp_path / "bin" / "python"
    subprocess.run([uv, "venv", "--quiet", "--python", sys.executable, "--clear", tmp_path], check=True)
    packages = ("protobuf==5.27.2", "grpcio==1.66.2")
    subprocess.run([uv, "pip", "install", "--quiet", "--python", python, *packages], check=True)
    done = subprocess.run(
        [python, "-W", "error", "-c", LOAD, STUBS],
        capture_output=True,
        text=True,
        env={"PYTHONPATH": str(STUBS), "PYTHONDONTWRITEBYTECODE": "1"},
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout == "5.27.2\n"
