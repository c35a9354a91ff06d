"""The images of a release, built without a registry and kept in the user's cache.

Debian's Python stands in for the base image of deploy/Dockerfile, whose steps run as they are. The stores are those of the
wheels, not the official images. Packages of Python are downloaded by this machine's pip, so that no step of the build needs
the network.
"""

from __future__ import annotations

import hashlib
import json
import re
import shutil
import sys
import tempfile
from pathlib import Path
from typing import Final

import yaml

from services.embedded.preflight import MONGOD_LIBRARIES, PYTHON_LIBRARIES
from services.embedded.programs import mongo_server, nats_server, redis_server
from tests.cluster.processes import run
from tests.cluster.tools import CACHE, ROOT
from tests.helm.rendering import CHART

DOCKERFILE: Final = ROOT / "deploy" / "Dockerfile"
LOCKS: Final = (ROOT / "requirements" / "image.txt", ROOT / "requirements" / "build.txt")
RELEASE: Final = "bookworm"
PYTHON: Final = "3.11"
HUB: Final = "docker.io/library"
PAUSE: Final = f"{HUB}/pause:1"
PACKAGES: Final = (
    *("python3", "python3-pip", "python3-venv", "python-is-python3", "ca-certificates"),
    *sorted({*MONGOD_LIBRARIES.values(), *PYTHON_LIBRARIES.values()}),
)
_STORES: Final = {"mongo": mongo_server, "redis": redis_server, "nats": nats_server}
_NAME: Final = "org.opencontainers.image.ref.name"
_PIP: Final = "[global]\nno-index = true\nfind-links = /wheels\n"
_BASE: Final = "FROM scratch\nADD base.tar /\nRUN rm --force /usr/lib/python3*/EXTERNALLY-MANAGED\n"


def names() -> dict[str, str]:
    """The images that the chart names, by what is in them."""
    values = yaml.safe_load((CHART / "values.yaml").read_text())
    version = yaml.safe_load((CHART / "Chart.yaml").read_text())["appVersion"]
    stores = {name: f"{HUB}/{each['repository']}:{each['tag']}" for name, each in _images(values["trial"]).items()}
    return {"topten": f"{HUB}/{values['image']['repository']}:{version}", **stores}


def store_versions() -> dict[str, str]:
    """The versions of the stores in the images."""
    found = {}
    for name, make in _STORES.items():
        with tempfile.TemporaryDirectory() as folder:
            text = run(make(Path(folder), 0, "unused").argv[0], "--version")
        found[name] = re.findall(r"\d+\.\d+\.\d+", text)[0]
    return found


def build(into: Path) -> None:
    """Build what has changed, and write all images to a folder in OCI's layout. Raises ProgramError."""
    tags = names()
    print("building the images; a minute", flush=True)
    shop = _Workshop(CACHE / "images")
    shop.base()
    shop.build(DOCKERFILE, ROOT, tags["topten"], f"--ignorefile={DOCKERFILE}.dockerignore", *shop.wheels())
    first, *others = (tags[name] for name in _STORES)
    shop.build(shop.stores(), CACHE, first)
    shop.build(shop.write("pause", f'FROM {shop.python}\nCMD ["sleep", "infinity"]\n'), CACHE, PAUSE)
    for tag in (tags["topten"], first, PAUSE):
        shop.export(tag, into)
    _name_again(into, first, others)
    shop.forget()


def _name_again(layout: Path, first: str, others: list[str]) -> None:
    """Give an image other names: the stores are one image."""
    index = json.loads((layout / "index.json").read_text())
    (image,) = (each for each in index["manifests"] if each["annotations"][_NAME] == first)
    index["manifests"] += [image | {"annotations": {_NAME: name}} for name in others]
    (layout / "index.json").write_text(json.dumps(index))


def _images(trial: dict[str, dict[str, dict[str, str]]]) -> dict[str, dict[str, str]]:
    return {name: trial[name]["image"] for name in _STORES}


class _Workshop:
    """Buildah with a storage of its own."""

    def __init__(self, folder: Path) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self._folder = folder
        (tag,) = re.findall(r"^ARG PYTHON=(\S+)$", DOCKERFILE.read_text(), re.MULTILINE)
        self.python = f"{HUB}/python:{tag}"

    def base(self) -> None:
        """Debian with Python, as the base image that deploy/Dockerfile names."""
        recipe = hashlib.sha256(" ".join((_BASE, RELEASE, *PACKAGES)).encode()).hexdigest()[:12]
        context = self._folder / f"base-{recipe}"
        archive = context / "base.tar"
        if not archive.exists():
            print("making a base image from Debian's packages; once, a minute", flush=True)
            context.mkdir(exist_ok=True)
            unfinished = context / "unfinished.tar"
            paths = [f"--dpkgopt=path-exclude=/usr/share/{name}/*" for name in ("doc", "locale", "man")]
            run("mmdebstrap", "--variant=minbase", f"--include={','.join(PACKAGES)}", *paths, RELEASE, unfinished)
            unfinished.replace(archive)
        self.build(self.write("base", _BASE), context, self.python)

    def wheels(self) -> list[str]:
        """Download what the locks name, for any version of this Python; the options that let a build find it."""
        state = hashlib.sha256(b"".join(path.read_bytes() for path in LOCKS)).hexdigest()[:12]
        wheels = self._folder / f"wheels-{state}"
        if not wheels.exists():
            unfinished = self._folder / "unfinished-wheels"
            shutil.rmtree(unfinished, ignore_errors=True)
            for lock in LOCKS:
                # The Python in the image may be another than this one.
                text = re.sub(r"^(\S+==[^\s;]+) ;[^\\\n]*", r"\1", lock.read_text(), flags=re.MULTILINE)
                given = self.write(f"{lock.stem}-wheels", text)
                command = (sys.executable, "-m", "pip", "download", "--quiet", "--require-hashes", "--no-deps")
                run(*command, "--only-binary=:all:", f"--python-version={PYTHON}", "--dest", unfinished, "-r", given)
            unfinished.replace(wheels)
        pip = self.write("pip.conf", _PIP)
        return [f"--volume={wheels}:/wheels:ro", f"--volume={pip}:/etc/pip.conf:ro"]

    def stores(self) -> Path:
        """One image with all three programs under the names that the official images have them."""
        lines = [f"FROM {self.python}"]
        target = {"mongo": "mongod", "redis": "redis-server", "nats": "nats-server"}
        for name, make in _STORES.items():
            program = Path(make(self._folder / "unused", 0, "unused").argv[0]).resolve()
            state = f"{program.stat().st_size}-{program.stat().st_mtime_ns}"
            copy = self._folder / f"{target[name]}-{state}"
            if not copy.exists():
                shutil.copy2(program, copy)
            lines.append(f"COPY images/{copy.name} /usr/local/bin/{target[name]}")
        return self.write("stores", "\n".join([*lines, ""]))

    def write(self, name: str, text: str) -> Path:
        """A file with this text."""
        path = self._folder / name
        path.write_text(text)
        return path

    def build(self, dockerfile: Path, context: Path, tag: str, *options: str) -> None:
        """Build an image from its Dockerfile; unchanged steps are taken from the cache."""
        self._buildah(
            "bud", "--layers", "--pull-never", "--quiet", f"--file={dockerfile}", f"--tag={tag}", *options, context
        )

    def export(self, tag: str, into: Path) -> None:
        """Add an image to a folder in OCI's layout."""
        self._buildah("push", "--quiet", tag, f"oci:{into}:{tag}")

    def forget(self) -> None:
        """Remove what no image needs, such as those of an older source."""
        self._buildah("rmi", "--prune")

    def _buildah(self, command: str, *arguments: str | Path) -> None:
        storage = [f"--root={self._folder / 'storage'}", f"--runroot={self._folder / 'running'}"]
        # Its mounts end with it.
        run(
            "unshare",
            "--mount",
            "nice",
            "-n",
            "10",
            "buildah",
            *storage,
            command,
            *arguments,
            environ={"BUILDAH_ISOLATION": "chroot"},
        )
