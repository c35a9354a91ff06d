"""No secret appears in an output of the system, and no input forges a log line."""

from __future__ import annotations

import asyncio
import base64
import json
import os
import re
import secrets
import signal
import subprocess
import sys
from collections.abc import AsyncIterator, Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import urlsplit

import aiohttp
import pytest
import pytest_asyncio

from services.cli.system.client import GraphqlClient
from tests.deadline import POLL_SECONDS, deadline
from tests.players import endpoints, register
from tests.servers import HOST, RunningStack, running_stack
from tests.system.graphql import LOGIN, Web, browsing

PROCESSES = ("edge", "identity", "quiz", "score", "leaderboard")
STORES = ("mongo", "redis", "nats")
REFRESH = "mutation ($token: String) { refreshToken(refreshToken: $token) { accessToken } }"
SUBMIT = "mutation ($i: QuizActionInput!) { submitQuizAction(input: $i) { success } }"
FORGED = "2030-01-01T00:00:00Z error   edge forged line"
TEXT_LINE = re.compile(r"\d{4}-\d\d-\d\dT\S+Z (debug|info|warning|error|critical) +\w+ |  \| ")
UNAUTHORIZED = r"\bstatus=401\b"


def canary(kind: str) -> str:
    return f"canary-{kind}-{secrets.token_hex(12)}"


@dataclass
class Planted:
    """The secrets given to a system, and everything that it put out."""

    stack: RunningStack
    secrets: dict[str, str] = field(default_factory=dict)
    outputs: dict[str, str] = field(default_factory=dict)

    def plant(self, kind: str) -> str:
        """Return a new secret."""
        self.secrets[kind] = canary(kind)
        return self.secrets[kind]

    def logs(self, *names: str) -> Iterator[tuple[str, str]]:
        """Yield the lines of the processes' logs, with the name of the process."""
        for name in names:
            for line in (self.stack.data / "logs" / f"{name}.log").read_text(errors="replace").split("\n"):
                if line:
                    yield name, line


@pytest_asyncio.fixture(scope="module")
async def planted() -> AsyncIterator[Planted]:
    """A system that logs at debug level, after every kind of failed and malformed request.

    As text, in which a line can be forged; `test_telemetry` has the same for lines of JSON.
    """
    with running_stack({"TOPTEN_LOG_FORMAT": "text", "TOPTEN_LOG_LEVEL": "debug"}) as stack:
        planted = Planted(stack)
        for path in sorted((stack.data / "secrets").iterdir()):
            text = path.read_text().strip()
            # One line of a PEM key is enough.
            planted.secrets[f"secret {path.name}"] = text.splitlines()[1] if "-----" in text else text
        for name, url in stack.endpoints["stores"].items():
            planted.secrets[f"password of {name}"] = urlsplit(url).password or ""
        async with browsing(stack.http) as web:
            await _sign_in_wrongly(planted, web)
            await _send_malformed_requests(planted, web)
        await _call_internal_ports(planted)
        # Before the stores are stopped: a process that gives up then is replaced by another.
        for name in (*PROCESSES, *STORES):
            arguments = Path(f"/proc/{stack.pid_of(name)}/cmdline").read_bytes().replace(b"\0", b" ")
            planted.outputs[f"arguments of {name}"] = arguments.decode()
        for name in PROCESSES:
            planted.outputs[f"--config of {name}"] = _config_of(stack, name)
        await _stop_the_stores(planted)
        for name in PROCESSES:
            planted.outputs[f"metrics of {name}"] = await _metrics_of(stack, name)
        yield planted


async def _sign_in_wrongly(planted: Planted, web: Web) -> None:
    async with GraphqlClient(endpoints(planted.stack).graphql) as client:
        player = await register(client)
    planted.secrets |= {"access token": player.access_token, "refresh token": player.refresh_token}
    wrong = {"input": {"username": player.username, "password": planted.plant("password")}}
    responses = [
        await web.graphql(LOGIN, wrong),
        await web.graphql(
            LOGIN, {"input": {"username": f"x\r\n{FORGED}", "password": planted.plant("other-password")}}
        ),
        await web.graphql(LOGIN, {"input": {"username": ["a"], "password": {"is": planted.plant("nested-password")}}}),
        await web.graphql(f'{{ me {{ userId }} "{planted.plant("document")}" '),
        await web.graphql(REFRESH, {"token": planted.plant("refresh")}),
        await web.graphql("{ me { userId } }", token=planted.plant("bearer")),
        await web.graphql("{ me { userId } }", token=f"{player.access_token[:-8]}{secrets.token_hex(4)}"),
        await web.graphql("{ me { userId } }", headers={"Authorization": f"Basic {planted.plant('basic')}"}),
        await web.graphql("{ me { userId } }", headers={"Cookie": f"topten_access={planted.plant('cookie')}"}),
        await web.request("GET", f"/api/v1/leaderboard/stream?token={planted.plant('url')}"),
        await web.request(
            "GET", "/api/v1/leaderboard/stream", headers={"Cookie": f"topten_stream={planted.plant('c')}"}
        ),
    ]
    action = {"quizId": f"q\n{FORGED}", "actionId": f"a\r{FORGED}", "answers": [], "timestamp": FORGED}
    responses.append(await web.graphql(SUBMIT, {"i": action}, player.access_token))
    headers = {"X-Request-Id": f"a {FORGED}", "User-Agent": f"x\u2028{FORGED}\x85", "X-Forwarded-For": FORGED}
    responses.append(await web.graphql("{ me { userId } }", token="x", headers=headers))
    responses.append(await web.request("GET", f"/%0d%0a{FORGED.replace(' ', '%20')}"))
    planted.outputs["responses"] = json.dumps([[each.body, dict(each.headers)] for each in responses])


async def _send_malformed_requests(planted: Planted, web: Web) -> None:
    """Send requests that no client library would send."""
    body = f'{{"query": "{{ me }}", "password": "{planted.plant("broken-json")}'
    planted.outputs["response to malformed JSON"] = json.dumps(
        (await web.request("POST", "/graphql", data=body, headers={"Content-Type": "application/json"})).body
    )
    for kind, line in (("header", "X-Broken\x00: "), ("folded", "X-A: b\r\n "), ("target", "")):
        reader, writer = await asyncio.open_connection(HOST, planted.stack.port)
        secret = planted.plant(f"raw-{kind}")
        target = f"/\x01{secret}" if kind == "target" else "/"
        writer.write(f"GET {target} HTTP/1.1\r\nHost: x\r\n{line}{secret}\r\n\n{FORGED}\r\n\r\n".encode())
        with suppress(ConnectionError):
            async with deadline(f"a response to a malformed {kind}"):
                planted.outputs[f"response to a malformed {kind}"] = (await reader.read(4096)).decode(errors="replace")
        writer.close()


async def _call_internal_ports(planted: Planted) -> None:
    identity = planted.stack.endpoints["identity_http"]
    async with aiohttp.ClientSession() as session:
        form = {"grant_type": "client_credentials"}
        client = f"edge\n{FORGED.replace(':', ';')}:{planted.plant('client-secret')}"
        headers = {"Authorization": f"Basic {base64.b64encode(client.encode()).decode()}"}
        async with session.post(f"{identity}/oauth/token", data=form, headers=headers) as response:
            planted.outputs["response to a wrong client"] = await response.text()
        for metrics in planted.stack.endpoints["metrics"].values():
            for path in ("/readyz", "/livez", f"/{planted.plant('path')}"):
                async with session.get(metrics.replace("/metrics", path)) as response:
                    planted.outputs[f"{metrics} {path[:8]}"] = await response.text()


async def _stop_the_stores(planted: Planted) -> None:
    """Make drivers log their addresses, which must not include the password."""
    processes = [planted.stack.pid_of(name) for name in STORES]
    for pid in processes:
        os.kill(pid, signal.SIGSTOP)
    async with deadline(), aiohttp.ClientSession() as session:
        for name in ("identity", "quiz", "score"):
            # Killed, they would be restarted before the first request.
            while not any("store unreachable" in line for _, line in planted.logs(name)):
                ready = planted.stack.endpoints["metrics"][name].replace("/metrics", "/readyz")
                async with session.get(ready):
                    await asyncio.sleep(POLL_SECONDS)
        for pid in processes:
            os.kill(pid, signal.SIGKILL)
        async with browsing(planted.stack.http) as web:
            while (await web.request("GET", "/readyz")).status != 200:
                await asyncio.sleep(0.1)


async def _metrics_of(stack: RunningStack, name: str) -> str:
    async with deadline(), aiohttp.ClientSession() as session:
        while True:  # a process that gave up without a store is being restarted
            with suppress(aiohttp.ClientError):
                async with session.get(stack.endpoints["metrics"][name]) as response:
                    return await response.text()
            await asyncio.sleep(0.1)


def _config_of(stack: RunningStack, name: str) -> str:
    environ = stack.environ_of(name)
    module = "edge" if name == "edge" else f"services.{name}"
    printed = subprocess.run([sys.executable, "-m", module, "--config"], env=environ, capture_output=True, check=True)
    return (printed.stdout + printed.stderr).decode()


def test_no_secret_is_in_any_log(planted: Planted) -> None:
    logs = {path.name: path.read_text(errors="replace") for path in (planted.stack.data / "logs").glob("*.log*")}
    logs["what topten up printed"] = planted.stack.printed().replace(
        planted.secrets["secret password-ada"], "(on purpose)"
    )
    assert {
        (name, kind) for name, text in logs.items() for kind, secret in planted.secrets.items() if secret in text
    } == set()


def test_no_secret_is_in_a_response_metric_printed_setting_or_argument(planted: Planted) -> None:
    assert "--config of identity" in planted.outputs
    leaks = {
        (name, kind)
        for name, text in planted.outputs.items()
        for kind, secret in planted.secrets.items()
        if secret in text
    }
    assert leaks == set()


def test_no_input_forges_a_log_line(planted: Planted) -> None:
    lines = list(planted.logs(*PROCESSES))
    assert len(lines) > 20
    for name, line in lines:
        assert TEXT_LINE.match(line), (name, line)
        assert not line.startswith(FORGED), (name, line)


@pytest.mark.parametrize(
    ("process", "words"),
    [
        ("identity", ("CREDENTIALS_INVALID", "Login")),  # a wrong password
        ("edge", (UNAUTHORIZED, "/graphql")),  # a forged token
        ("edge", (UNAUTHORIZED, "/api/v1/leaderboard/stream")),
        ("identity", ("client credentials refused",)),
    ],
)
def test_failed_attempts_are_warnings(planted: Planted, process: str, words: tuple[str, ...]) -> None:
    lines = [line for _, line in planted.logs(process) if all(re.search(word, line) for word in words)]
    assert lines
    assert all(" warning " in line for line in lines)
