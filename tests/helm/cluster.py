"""The rendered trial install as local processes, without a cluster.

Every Service has its own loopback address, so that ports stay as rendered; mounted files are in a folder. Only addresses and
paths are replaced in the rendered objects. Stores run from wheels instead of their images, processes from a Python with the
distribution installed. Unlike a kubelet, this pulls no images, restricts no pods, and probes only at the start.
"""

from __future__ import annotations

import base64
import random
import re
import subprocess
import time
import urllib.error
import urllib.request
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from services.embedded.programs import mongo_server, nats_server, redis_server
from tests.helm.rendering import RELEASE, Manifest, component, containers, of_kind, pods

START_SECONDS = 90
# The programs on PATH in the official images.
MAKERS = {"mongod": mongo_server, "redis-server": redis_server, "nats-server": nats_server}


@dataclass
class Container:
    """One container as a process: command line, environment and log."""

    name: str
    argv: list[str]
    environ: dict[str, str]
    log: Path
    probe: str = ""
    process: subprocess.Popen[bytes] | None = field(default=None, repr=False)

    def start(self) -> subprocess.Popen[bytes]:
        """Start it."""
        with self.log.open("wb") as log:
            self.process = subprocess.Popen(
                ["/usr/bin/env", *self.argv],  # looks the program up in the PATH of its environment
                env=self.environ,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                cwd=self.log.parent,
            )
        return self.process

    def run(self) -> str:
        """Run it to its end and return its output. Raises AssertionError if it failed."""
        code = self.start().wait(START_SECONDS)
        output = self.log.read_text()
        assert code == 0, f"{self.name} ended with {code}:\n{output}"
        return output

    def wait_until_started(self) -> None:
        """Wait until the startup probe succeeds."""
        deadline = time.monotonic() + START_SECONDS
        while not _answers(self.probe):
            assert self.process is not None
            if self.process.poll() is not None or time.monotonic() > deadline:
                raise AssertionError(f"{self.name} does not start:\n{self.log.read_text()}")
            time.sleep(0.05)

    def stop(self) -> int:
        """Send SIGTERM, then SIGKILL if it does not exit; return the exit code."""
        assert self.process is not None
        self.process.terminate()
        try:
            return self.process.wait(30)
        except subprocess.TimeoutExpired:
            self.process.kill()
            return self.process.wait()


class Cluster:
    """The rendered objects, made runnable below `folder`, with the image's programs in `bin`."""

    def __init__(self, manifests: list[Manifest], folder: Path, programs: Path) -> None:
        self._folder = folder
        self._path = f"{_stores(folder)}:{programs}:/usr/bin:/bin"
        self._secrets = {one["metadata"]["name"]: _data(one) for one in of_kind(manifests, "Secret")}
        self._configs = {one["metadata"]["name"]: one["data"] for one in of_kind(manifests, "ConfigMap")}
        # A random network in 127/8: the same test may run twice on this machine.
        net = f"127.{random.randint(64, 250)}.{random.randint(1, 250)}"
        services = [one["metadata"]["name"] for one in of_kind(manifests, "Service")]
        self.addresses = {name: f"{net}.{number}" for number, name in enumerate(sorted(services), start=1)}
        self.containers: dict[str, Container] = {}
        for owner, pod in pods(manifests):
            for container in containers(pod):
                self.containers[container["name"]] = self._container(component(owner), pod, container)

    def _container(self, part: str, pod: Manifest, container: Manifest) -> Container:
        root = self._folder / container["name"]
        root.mkdir(parents=True)
        address = self.addresses.get(f"{RELEASE}-{part}", "127.0.0.1")
        volumes = {volume["name"]: volume for volume in pod["spec"].get("volumes", [])}
        paths: dict[str, str] = {}
        for mount in container.get("volumeMounts", []):
            target = root / mount["mountPath"].strip("/")
            target.mkdir(parents=True)
            paths[mount["mountPath"]] = str(target)
        for mount in container.get("volumeMounts", []):
            for name, text in self._content(volumes.get(mount["name"], {})).items():
                path = Path(paths[mount["mountPath"]]) / name
                path.write_text(self._here(text, address, paths))
                path.chmod(0o440)  # as a kubelet does for a pod with an fsGroup
        environ = {"PATH": self._path, "HOME": str(root), "LANG": "C.UTF-8"}
        for source in container.get("envFrom", []):
            environ |= self._configs[source["configMapRef"]["name"]]
        environ |= {entry["name"]: self._here(entry["value"], address, paths) for entry in container.get("env", [])}
        argv = [self._here(word, address, paths) for word in container["command"]]
        probe = container.get("startupProbe", {}).get("httpGet")
        ports = {port["name"]: port["containerPort"] for port in container.get("ports", [])}
        url = f"http://{address}:{ports[probe['port']]}{probe['path']}" if probe else ""
        return Container(container["name"], argv, environ, root / "log", url)

    def _content(self, volume: Manifest) -> dict[str, str]:
        """The files of a volume: name to text."""
        files: dict[str, str] = {}
        for source in volume.get("projected", {}).get("sources", [volume]):
            if "secret" in source:
                secret = source["secret"]
                data = self._secrets[secret.get("name") or secret["secretName"]]
                files |= {item["path"]: data[item["key"]] for item in secret["items"]}
            if "configMap" in source:
                files |= self._configs[source["configMap"]["name"]]
        return files

    def _here(self, text: str, address: str, paths: Mapping[str, str]) -> str:
        """`text` with Service names replaced by addresses and mount paths by local folders."""
        text = re.sub(rf"\b{RELEASE}-[a-z]+(?=:\d)", lambda match: self.addresses[match[0]], text)
        text = re.sub(r"\b0\.0\.0\.0\b|\b127\.0\.0\.1\b", address, text)
        # In one pass, because the folders contain the paths that they replace.
        longest_first = "|".join(re.escape(path) for path in sorted(paths, key=len, reverse=True))
        return re.sub(rf"(?<![\w/.])({longest_first})(?![\w-])", lambda match: paths[match[1]], text)

    @contextmanager
    def running(self, *names: str) -> Iterator[None]:
        """Start containers; stop all at the end, last first."""
        with ExitStack() as stack:
            for name in names:
                self.containers[name].start()
                stack.callback(self.containers[name].stop)
            yield


def _stores(folder: Path) -> Path:
    """A folder with the stores' programs under their names in the images."""
    programs = folder / "bin"
    programs.mkdir()
    for name, make in MAKERS.items():
        (programs / name).symlink_to(make(folder / "unused", 0, "unused").argv[0])
    return programs


def _data(secret: Manifest) -> dict[str, str]:
    encoded = {key: base64.b64decode(text).decode() for key, text in secret.get("data", {}).items()}
    return {**secret.get("stringData", {}), **encoded}


def _answers(url: str) -> bool:
    if not url:
        return True
    try:
        with urllib.request.urlopen(url, timeout=5) as response:
            return bool(response.status == 200)
    except (OSError, urllib.error.URLError):
        return False
