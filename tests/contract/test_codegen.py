"""The stubs: what the contracts generate, of one version, and loadable from protobuf 5.27 to the newest."""

from __future__ import annotations

import filecmp
import json
import re
import subprocess
import sys
import venv
from pathlib import Path

import pytest

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


def test_generating_again_changes_nothing(tmp_path: Path) -> None:
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
    anew, committed = tmp_path / "codegen" / "go", ROOT / "codegen" / "go"
    names = sorted(path.relative_to(anew).as_posix() for path in anew.rglob("*.go"))
    assert names == sorted(path.relative_to(committed).as_posix() for path in committed.rglob("*.pb.go"))
    _, differ, missing = filecmp.cmpfiles(anew, committed, names, shallow=False)
    assert (differ, missing) == ([], []), "make gen"


def test_every_language_has_the_version_of_the_python_distribution() -> None:
    npm = ROOT / "codegen" / "typescript"
    pom = (ROOT / "codegen" / "java" / "pom.xml").read_text()
    assert json.loads((npm / "package.json").read_text())["version"] == VERSION
    assert json.loads((npm / "package-lock.json").read_text())["version"] == VERSION
    assert re.findall(r"^  <version>(.*)</version>", pom, re.MULTILINE) == [VERSION]


def test_the_java_generator_is_of_the_version_that_its_users_get() -> None:
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
def test_stubs_load_on_the_oldest_protobuf_that_is_promised(tmp_path: Path) -> None:
    """Takes a while where the two wheels have to be fetched; nothing else can show it."""
    venv.create(tmp_path, with_pip=True)
    python = tmp_path / "bin" / "python"
    install: list[str | Path] = [python, "-m", "pip", "--disable-pip-version-check", "install", "--quiet"]
    subprocess.run([*install, "protobuf==5.27.2", "grpcio==1.66.2"], check=True)
    done = subprocess.run(
        [python, "-W", "error", "-c", LOAD, STUBS],
        capture_output=True,
        text=True,
        env={"PYTHONPATH": str(STUBS), "PYTHONDONTWRITEBYTECODE": "1"},
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout == "5.27.2\n"
