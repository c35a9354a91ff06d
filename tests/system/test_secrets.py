"""What is secret stands nowhere that people read, and nobody's words make a line of a log that is not theirs."""

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

from services.local.client import GraphqlClient
from tests.players import endpoints, register
from tests.servers import HOST, RunningStack, running_stack
from tests.system.graphql import LOGIN, Web, browsing

PROCESSES = ("edge", "identity", "quiz", "score", "leaderboard")
STORES = ("mongo", "redis", "nats")
REFRESH = "mutation ($token: String) { refreshToken(refreshToken: $token) { accessToken } }"
SUBMIT = "mutation ($i: QuizActionInput!) { submitQuizAction(input: $i) { success } }"
FORGED = "2030-01-01T00:00:00Z error   edge forged line"
TEXT_LINE = re.compile(r"\d{4}-\d\d-\d\dT\S+Z (debug|info|warning|error|critical) +\w+ |  \| ")
UNAUTHORIZED = r'\bstatus"?[:=]401\b'
PATIENCE_SECONDS = 60


def canary(kind: str) -> str:
    return f"canary-{kind}-{secrets.token_hex(12)}"


@dataclass
class Planted:
    """What was handed to the system and must not come out of it, and everything that it said."""

    log_format: str
    stack: RunningStack
    secrets: dict[str, str] = field(default_factory=dict)
    said: dict[str, str] = field(default_factory=dict)

    def plant(self, kind: str) -> str:
        """A secret that nobody else has."""
        self.secrets[kind] = canary(kind)
        return self.secrets[kind]

    def logs(self, *names: str) -> Iterator[tuple[str, str]]:
        """The lines of the processes' logs, with whose they are."""
        for name in names:
            for line in (self.stack.data / "logs" / f"{name}.log").read_text(errors="replace").split("\n"):
                if line:
                    yield name, line


@pytest_asyncio.fixture(scope="module", params=["text", "json"])
async def planted(request: pytest.FixtureRequest) -> AsyncIterator[Planted]:
    """A system at its most talkative, to which everything was said that could go wrong."""
    settings = {"TOPTEN_LOG_FORMAT": request.param, "TOPTEN_LOG_LEVEL": "debug"}
    with running_stack(settings) as stack:
        planted = Planted(request.param, stack)
        for path in sorted((stack.data / "secrets").iterdir()):
            text = path.read_text().strip()
            # Of a key in PEM the middle says enough.
            planted.secrets[f"secret {path.name}"] = text.splitlines()[1] if "-----" in text else text
        for name, url in stack.endpoints["stores"].items():
            planted.secrets[f"password of {name}"] = urlsplit(url).password or ""
        async with browsing(stack.http) as web:
            await _sign_in_and_fail(planted, web)
            await _send_what_is_malformed(planted, web)
        await _ask_the_inside(planted)
        # Before the stores are taken away: who gives up then is another process a moment later.
        for name in (*PROCESSES, *STORES):
            arguments = Path(f"/proc/{stack.pid_of(name)}/cmdline").read_bytes().replace(b"\0", b" ")
            planted.said[f"arguments of {name}"] = arguments.decode()
        for name in PROCESSES:
            planted.said[f"--config of {name}"] = _config_of(stack, name)
        await _take_the_stores_away(planted)
        for name in PROCESSES:
            planted.said[f"metrics of {name}"] = await _metrics_of(stack, name)
        yield planted


async def _sign_in_and_fail(planted: Planted, web: Web) -> None:
    async with GraphqlClient(endpoints(planted.stack).graphql) as client:
        player = await register(client)
    planted.secrets |= {"access token": player.access_token, "refresh token": player.refresh_token}
    wrong = {"input": {"username": player.username, "password": planted.plant("password")}}
    answers = [
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
    answers.append(await web.graphql(SUBMIT, {"i": action}, player.access_token))
    headers = {"X-Request-Id": f"a {FORGED}", "User-Agent": f"x\u2028{FORGED}\x85", "X-Forwarded-For": FORGED}
    answers.append(await web.graphql("{ me { userId } }", token="x", headers=headers))
    answers.append(await web.request("GET", f"/%0d%0a{FORGED.replace(' ', '%20')}"))
    planted.said["answers"] = json.dumps([[answer.body, dict(answer.headers)] for answer in answers])


async def _send_what_is_malformed(planted: Planted, web: Web) -> None:
    """Requests that no client library would send."""
    body = f'{{"query": "{{ me }}", "password": "{planted.plant("broken-json")}'
    planted.said["an answer to no JSON"] = json.dumps(
        (await web.request("POST", "/graphql", data=body, headers={"Content-Type": "application/json"})).body
    )
    for kind, line in (("header", "X-Broken\x00: "), ("folded", "X-A: b\r\n "), ("target", "")):
        reader, writer = await asyncio.open_connection(HOST, planted.stack.port)
        secret = planted.plant(f"raw-{kind}")
        target = f"/\x01{secret}" if kind == "target" else "/"
        writer.write(f"GET {target} HTTP/1.1\r\nHost: x\r\n{line}{secret}\r\n\n{FORGED}\r\n\r\n".encode())
        with suppress(ConnectionError, TimeoutError):
            async with asyncio.timeout(2):
                planted.said[f"an answer to a bad {kind}"] = (await reader.read(4096)).decode(errors="replace")
        writer.close()


async def _ask_the_inside(planted: Planted) -> None:
    identity = planted.stack.endpoints["identity_http"]
    async with aiohttp.ClientSession() as session:
        form = {"grant_type": "client_credentials"}
        client = f"edge\n{FORGED.replace(':', ';')}:{planted.plant('client-secret')}"
        headers = {"Authorization": f"Basic {base64.b64encode(client.encode()).decode()}"}
        async with session.post(f"{identity}/oauth/token", data=form, headers=headers) as response:
            planted.said["an answer to a wrong client"] = await response.text()
        for metrics in planted.stack.endpoints["metrics"].values():
            for path in ("/readyz", "/livez", f"/{planted.plant('path')}"):
                async with session.get(metrics.replace("/metrics", path)) as response:
                    planted.said[f"{metrics} {path[:8]}"] = await response.text()


async def _take_the_stores_away(planted: Planted) -> None:
    """Drivers say what they could not reach; it must not be with what password."""
    processes = [planted.stack.pid_of(name) for name in STORES]
    for pid in processes:
        os.kill(pid, signal.SIGSTOP)
    async with asyncio.timeout(PATIENCE_SECONDS), aiohttp.ClientSession() as session:
        for name in ("identity", "quiz", "score"):
            # Killed, they would be back before anybody has asked them.
            while not any("a store does not answer" in line for _, line in planted.logs(name)):
                ready = planted.stack.endpoints["metrics"][name].replace("/metrics", "/readyz")
                async with session.get(ready):
                    pass
        for pid in processes:
            os.kill(pid, signal.SIGKILL)
        async with browsing(planted.stack.http) as web:
            while (await web.request("GET", "/readyz")).status != 200:
                await asyncio.sleep(0.1)


async def _metrics_of(stack: RunningStack, name: str) -> str:
    async with asyncio.timeout(PATIENCE_SECONDS), aiohttp.ClientSession() as session:
        while True:  # one that gave up without a store is just being started again
            with suppress(aiohttp.ClientError):
                async with session.get(stack.endpoints["metrics"][name]) as response:
                    return await response.text()
            await asyncio.sleep(0.1)


def _config_of(stack: RunningStack, name: str) -> str:
    environ = dict(
        entry.split("=", 1)
        for entry in Path(f"/proc/{stack.pid_of(name)}/environ").read_bytes().decode().split("\0")
        if "=" in entry
    )
    module = "edge" if name == "edge" else f"services.{name}"
    printed = subprocess.run([sys.executable, "-m", module, "--config"], env=environ, capture_output=True, check=True)
    return (printed.stdout + printed.stderr).decode()


def test_no_secret_is_in_any_log(planted: Planted) -> None:
    logs = {path.name: path.read_text(errors="replace") for path in (planted.stack.data / "logs").glob("*.log*")}
    logs["what topten up printed"] = planted.stack.said().replace(
        planted.secrets["secret password-ada"], "(on purpose)"
    )
    assert {
        (name, kind) for name, text in logs.items() for kind, secret in planted.secrets.items() if secret in text
    } == set()


def test_no_secret_is_in_an_answer_a_metric_a_setting_that_is_shown_or_an_argument(planted: Planted) -> None:
    assert "--config of identity" in planted.said
    found = {
        (name, kind)
        for name, text in planted.said.items()
        for kind, secret in planted.secrets.items()
        if secret in text
    }
    assert found == set()


def test_nobodys_words_make_a_line(planted: Planted) -> None:
    lines = list(planted.logs(*PROCESSES))
    assert len(lines) > 20
    for name, line in lines:
        if planted.log_format == "json":
            assert {"timestamp", "level", "service", "message"} <= json.loads(line).keys(), (name, line)
        else:
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
    found = [line for _, line in planted.logs(process) if all(re.search(word, line) for word in words)]
    assert found
    assert all('"level":"warning"' in line or " warning " in line for line in found)
