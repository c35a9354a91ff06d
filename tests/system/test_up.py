"""`topten up` and the commands beside it, as somebody at a terminal uses them."""

from __future__ import annotations

import asyncio
import json
import os
import re
import signal
import socket
import stat
import subprocess
import time
from collections.abc import Sequence
from pathlib import Path

import pytest

from services.local.client import GraphqlClient
from services.local.stack import wait_for_edge
from tests.factories import quiz_definition
from tests.imports import import_quiz
from tests.players import PASSWORD, endpoints, register, shows, stream, until
from tests.servers import HOST, RunningStack, free_port, running, running_stack, topten, unique

RIGHT = [("q5", "true")]


def run(*arguments: str, **environ: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        topten(*arguments), capture_output=True, text=True, timeout=60, env={**os.environ, **environ}, check=False
    )


def alive(pids: Sequence[int]) -> list[int]:
    return [pid for pid in pids if os.path.exists(f"/proc/{pid}/stat")]  # noqa: PTH110  # Path fails if it ends just then


def pids_of(stack: RunningStack) -> list[int]:
    return [int(path.read_text()) for path in (stack.data / "logs").glob("*.pid")]


@pytest.mark.slow
async def test_everything_stops_leaves_nothing_and_is_found_again() -> None:
    """Takes about 20 s: the whole system starts three times."""
    with running_stack() as stack:
        async with GraphqlClient(endpoints(stack).graphql) as client:
            player = await register(client, username=unique("again"))
            await player.submit("arithmetic-sprint", RIGHT)
        children = pids_of(stack)
        assert len(children) == 8
        assert alive(children) == children
        assert stat.S_IMODE((stack.data / "endpoints.json").stat().st_mode) == 0o600
        assert stack.stop() == 0
        assert alive(children) == [], "Ctrl-C leaves no process"

        stack.start()
        await shows_score(stack, player.username, 5)
        children = pids_of(stack)
        stack.kill()
        deadline = time.monotonic() + 10
        while alive(children):
            assert time.monotonic() < deadline, "killing the supervisor leaves no process"

        stack.start()
        await shows_score(stack, player.username, 5)
        children = pids_of(stack)
        assert stack.process is not None
        stack.process.send_signal(signal.SIGHUP)
        assert stack.process.wait(60) == 0, "a terminal that is closed stops it in order"
        assert alive(children) == []


def test_a_wrong_value_of_a_setting_is_one_clear_line(tmp_path: Path) -> None:
    done = run("up", "--port", str(free_port()), "--data", str(tmp_path), TOPTEN_LEADERBOARD_TICK="banana")
    assert done.returncode == 2
    assert "topten: TOPTEN_LEADERBOARD_TICK='banana': must be a duration" in done.stderr
    assert not (tmp_path / "logs").exists(), "nothing was started"


def test_a_folder_that_is_none_is_one_clear_line(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    done = run("up", "--data", str(tmp_path / "file"))
    assert done.returncode == 2
    assert re.fullmatch(r"topten: could not start: .*/file: File exists\n", done.stderr)


async def test_servers_named_by_url_are_used_instead_of_embedded_ones(tmp_path: Path) -> None:
    """Valkey instead of Redis among them."""
    async with running("mongo") as mongo, running("valkey") as redis, running("nats") as nats:
        (tmp_path / "mongo").write_text(f"{mongo.url}\n")
        urls = {
            "TOPTEN_MONGO_URL_FILE": str(tmp_path / "mongo"),
            "TOPTEN_REDIS_URL": redis.url,
            "TOPTEN_NATS_URL": nats.url,
        }
        with running_stack(urls) as stack:
            assert stack.endpoints["stores"] == {"mongo": mongo.url, "redis": redis.url, "nats": nats.url}
            assert len(pids_of(stack)) == 5, "the processes, and no store"
            async with GraphqlClient(endpoints(stack).graphql) as client:
                player = await register(client)
                await player.submit("arithmetic-sprint", RIGHT)
                async with stream(stack.http, player.access_token) as events:
                    await until(events, shows(player.username, 5))
            assert stack.endpoints["moderator"]["username"] == "mira"
            await ends_at_once_when_told_again(stack)
        with running_stack(urls) as another:
            moderator = another.endpoints["moderator"]
            assert moderator["username"] != "mira", "whose password another folder has"
            async with GraphqlClient(endpoints(another).graphql) as client:
                await client.login(**moderator)


async def ends_at_once_when_told_again(stack: RunningStack) -> None:
    children = pids_of(stack)
    os.kill(stack.pid_of("edge"), signal.SIGSTOP)  # it would be waited for
    assert stack.process is not None
    while stack.process.poll() is None:
        stack.process.send_signal(signal.SIGINT)
        await asyncio.sleep(0.1)
    assert stack.process.returncode == 1, "not stopped in order"
    deadline = time.monotonic() + 10
    while alive(children):
        assert time.monotonic() < deadline, "ended at once, it still leaves no process"


async def shows_score(stack: RunningStack, username: str, score: int) -> None:
    async with GraphqlClient(endpoints(stack).graphql) as client:
        document = "mutation ($i: LoginInput!) { login(input: $i) { accessToken } }"
        login = await client.execute(document, {"i": {"username": username, "password": PASSWORD}})
        data = await client.execute("{ me { score rank } }", {}, login["login"]["accessToken"])
    assert data["me"]["score"] == score


def test_a_taken_port_is_one_clear_line(tmp_path: Path) -> None:
    with socket.create_server((HOST, 0)) as listener:
        port = listener.getsockname()[1]
        done = run("up", "--port", str(port), "--data", str(tmp_path))
    assert done.returncode == 2
    assert re.fullmatch(rf"topten: port {port} can't be had .*PORT=\n", done.stderr)


def test_a_misspelt_setting_is_refused(tmp_path: Path) -> None:
    done = run("up", "--data", str(tmp_path), TOPTEN_LEADERBOARD_TIKC="1s")
    assert done.returncode == 2
    assert "TOPTEN_LEADERBOARD_TIKC" in done.stderr


def test_a_folder_in_use_is_one_clear_line(stack: RunningStack) -> None:
    done = run("up", "--port", "1", "--data", str(stack.data))
    assert done.returncode == 2
    assert "another Topten runs on" in done.stderr


def test_a_child_that_dies_is_said_and_started_again(stack: RunningStack) -> None:
    pid = stack.pid_of("leaderboard")
    os.kill(pid, signal.SIGKILL)
    output = stack.data.with_suffix(".out")
    deadline = time.monotonic() + 20
    while stack.pid_of("leaderboard") == pid or "leaderboard was ended by SIGKILL" not in output.read_text():
        assert time.monotonic() < deadline
        time.sleep(0.02)


def test_a_quiz_file_is_imported_and_a_bad_one_is_named_by_its_faults(stack: RunningStack, tmp_path: Path) -> None:
    good, bad = tmp_path / "good.json", tmp_path / "bad.json"
    quiz_id = unique("file-")
    good.write_text(
        json.dumps(
            {
                "id": quiz_id,
                "title": "T",
                "questions": [{"id": "a", "text": "?", "kind": "true_false", "correct": True}],
            }
        )
    )
    bad.write_text('{"id": "x", "title": "", "attempts": {"max": -1}, "questions": []}')
    done = run("quiz", "import", str(bad), str(good), "--data", str(stack.data))
    assert done.returncode == 1
    assert f"{good}: version 1" in done.stdout
    assert f"{bad}: title: must be at least 1 characters" in done.stderr
    assert f"{bad}: attempts.max: must be" in done.stderr
    again = run("quiz", "import", str(good), "--data", str(stack.data))
    assert (again.returncode, again.stdout) == (0, f"{good}: version 1, unchanged\n")


async def test_a_role_is_granted_to_a_name_and_taken_away(stack: RunningStack) -> None:
    async with GraphqlClient(endpoints(stack).graphql) as client:
        player = await register(client)
    done = run("user", "grant", player.username, "--role", "author", "--data", str(stack.data))
    assert (done.returncode, done.stdout) == (0, f"{player.username}: author, player\n")
    taken = run("user", "revoke", player.username, "--role", "author", "--data", str(stack.data))
    assert (taken.returncode, taken.stdout) == (0, f"{player.username}: player\n")
    nobody = run("user", "grant", unique("nobody"), "--role", "author", "--data", str(stack.data))
    assert nobody.returncode == 1
    assert "PLAYER_NOT_FOUND" in nobody.stderr


async def test_the_board_is_shown_in_the_terminal(stack: RunningStack) -> None:
    async with GraphqlClient(endpoints(stack).graphql) as client:
        player = await register(client)
        quiz_id = unique("shown-")
        await import_quiz(endpoints(stack), quiz_definition(quiz_id))
        await player.submit(quiz_id, [("q1", "a")])
    deadline = time.monotonic() + 20
    while player.username not in (done := run("top", "--board", f"quiz:{quiz_id}", "--data", str(stack.data))).stdout:
        assert time.monotonic() < deadline, done
    assert done.returncode == 0


async def test_whoever_watches_a_board_keeps_watching_when_the_edge_comes_back(
    stack: RunningStack, tmp_path: Path
) -> None:
    async with GraphqlClient(endpoints(stack).graphql) as client:
        before, after = await register(client, country="MT"), await register(client, country="MT")
        await before.submit("arithmetic-sprint", RIGHT)
        shown = tmp_path / "shown"
        with shown.open("w") as file:
            watching = subprocess.Popen(
                topten("top", "--watch", "--board", "country:MT", "--data", str(stack.data)),
                stdout=file,
                stderr=subprocess.STDOUT,
                env={**os.environ, "FORCE_COLOR": "1"},  # a terminal, as far as it knows
            )
        try:
            await appears(before.username, shown)
            pid = stack.pid_of("edge")
            os.kill(pid, signal.SIGKILL)
            await appears("reconnecting", shown)
            while stack.pid_of("edge") == pid:
                await asyncio.sleep(0.02)
            await wait_for_edge(stack.http)
            await after.submit("arithmetic-sprint", RIGHT)
            await appears(after.username, shown)
            assert watching.poll() is None
        finally:
            watching.send_signal(signal.SIGINT)
            assert watching.wait(20) == 0, shown.read_text()


async def appears(text: str, file: Path) -> None:
    deadline = time.monotonic() + 30
    while text not in (shown := file.read_text()):
        assert time.monotonic() < deadline, shown
        await asyncio.sleep(0.02)


def test_totals_and_boards_are_as_the_ledger_says_before_and_after_a_rebuild(stack: RunningStack) -> None:
    verified = run("verify", "--data", str(stack.data))
    assert (verified.returncode, "all as the ledger says" in verified.stdout) == (0, True), verified.stdout
    rebuilt = run("rebuild", "--data", str(stack.data))
    assert (rebuilt.returncode, "generation" in rebuilt.stdout) == (0, True), rebuilt
    verified = run("verify", "--data", str(stack.data))
    assert (verified.returncode, "all as the ledger says" in verified.stdout) == (0, True), verified.stdout


def test_settings_are_listed_with_secrets_masked() -> None:
    done = run("config", "identity", TOPTEN_MONGO_URL="mongodb://user:hunter2@db/", COLUMNS="200")
    assert done.returncode == 0
    assert "TOPTEN_IDENTITY_ACCESS_TTL" in done.stdout
    assert "hunter2" not in done.stdout
    assert run("config", "nothing").returncode == 2


def test_without_a_system_every_command_says_so(tmp_path: Path) -> None:
    for command in (["top"], ["verify"], ["rebuild"], ["user", "grant", "x", "--role", "player"]):
        done = run(*command, "--data", str(tmp_path))
        assert done.returncode == 2, command
        assert "topten up" in done.stderr
