"""deploy/Dockerfile, executed without a container engine: the same steps in empty folders.

A stage is a folder that acts as its root: absolute paths of the steps are below it. The base image's Python is a new
environment of the Python that runs the tests. This cannot test the base image itself, nor the size of the image.
"""

from __future__ import annotations

import json
import os
import re
import shlex
import shutil
import subprocess
import sys
from dataclasses import dataclass, field
from fnmatch import fnmatch
from pathlib import Path

DEPLOY = Path("deploy")
CONTEXT = Path(__file__).parents[2]
FETCHING = re.compile(r"PIP_|SSL_|REQUESTS_CA_BUNDLE|\w+_proxy$", re.IGNORECASE)
ABSOLUTE = re.compile(r"(?<![\w.:/-])/(?:opt|src|tmp)\b")


@dataclass
class Stage:
    """One build stage: FROM and its instructions."""

    root: Path
    base: str
    name: str
    steps: list[tuple[str, str]] = field(default_factory=list)
    environ: dict[str, str] = field(default_factory=dict)
    workdir: str = "/"
    user: str = ""
    command: list[str] = field(default_factory=list)
    healthcheck: list[str] = field(default_factory=list)

    def path(self, text: str) -> Path:
        """The local path of an image path; relative ones are below the working directory."""
        return self.root / (text if text.startswith("/") else f"{self.workdir}/{text}").lstrip("/")

    def here(self, text: str) -> str:
        """`text` with absolute image paths moved below the stage's root."""
        return ABSOLUTE.sub(lambda match: f"{self.root}{match[0]}", text)


def instructions(text: str) -> list[tuple[str, str]]:
    """Parse the instructions of a Dockerfile, without comments and with continued lines joined."""
    lines = [line for line in text.splitlines() if not line.lstrip().startswith("#")]
    joined = "\n".join(lines).replace("\\\n", " ")
    return [
        (word.upper(), rest.strip()) for word, _, rest in (line.partition(" ") for line in joined.split("\n")) if word
    ]


def build(dockerfile: Path, folder: Path) -> Stage:
    """Build and return the last stage. Raises AssertionError for a failing or unknown step."""
    stages: dict[str, Stage] = {}
    stage: Stage | None = None
    for word, rest in instructions(dockerfile.read_text()):
        if word == "ARG":
            continue
        if word == "FROM":
            base, _, name = rest.partition(" AS ")
            stage = Stage(folder / (name or "last"), base, name)
            stage.root.mkdir(parents=True)
            stages[name or "last"] = stage
            continue
        assert stage is not None
        stage.steps.append((word, rest))
        match word:
            case "WORKDIR":
                stage.workdir = rest
                stage.path("").mkdir(parents=True, exist_ok=True)
            case "ENV":
                stage.environ |= dict(pair.split("=", 1) for pair in shlex.split(rest))
            case "USER":
                stage.user = rest
            case "CMD":
                stage.command = json.loads(rest)
            case "HEALTHCHECK":
                stage.healthcheck = json.loads(rest.partition("CMD ")[2])
            case "COPY":
                _copy(stage, shlex.split(rest), stages)
            case "RUN":
                _run(stage, rest, folder)
            case _:
                raise AssertionError(f"{word}: not known here; teach tests/helm/image.py")
    assert stage is not None
    return stage


def _copy(stage: Stage, words: list[str], stages: dict[str, Stage]) -> None:
    source = CONTEXT
    unwanted = shutil.ignore_patterns("__pycache__")
    if words[0].startswith("--from="):
        source, unwanted = stages[words.pop(0).removeprefix("--from=")].root, shutil.ignore_patterns()
    *names, target = words
    ignored = (CONTEXT / DEPLOY / "Dockerfile.dockerignore").read_text().split() if source == CONTEXT else []
    for name in names:
        allowed = not ignored or any(fnmatch(name, f"{rule[1:]}*") for rule in ignored if rule.startswith("!"))
        assert allowed, f"{name} is excluded by .dockerignore"
        original = source / name.lstrip("/")
        into = stage.path(target)
        if original.is_dir():
            shutil.copytree(original, into, symlinks=True, ignore=unwanted, dirs_exist_ok=True)
        else:
            into = into / original.name if target.endswith("/") else into
            into.parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(original, into)
        if source != CONTEXT:
            _move(into, source, stage.root)


def _move(folder: Path, source: Path, root: Path) -> None:
    """Adapt programs to a root other than `/`."""
    for script in folder.glob("bin/*"):
        if script.is_file() and not script.is_symlink() and script.read_bytes().startswith(b"#!" + bytes(source)):
            script.write_bytes(script.read_bytes().replace(bytes(source), bytes(root), 1))


def _run(stage: Stage, command: str, folder: Path) -> None:
    base = folder / "base"
    if not base.exists():
        subprocess.run([sys.executable, "-m", "venv", str(base)], check=True)
    # The package index is configured by the machine.
    fetching = {name: text for name, text in os.environ.items() if FETCHING.match(name)}
    environ = {"PATH": f"{base}/bin:/usr/bin:/bin", "HOME": str(Path.home()), "PIP_DISABLE_PIP_VERSION_CHECK": "1"}
    done = subprocess.run(
        ["/bin/sh", "-ec", stage.here(command)],
        cwd=stage.path(""),
        env=fetching | environ,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, f"RUN {command}\n{done.stdout}{done.stderr}"
