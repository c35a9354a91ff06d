"""`topten up` and the other commands, as a person at a terminal uses them."""

from __future__ import annotations

import json
import os
import re
import signal
import socket
import stat
import subprocess
from collections.abc import Sequence
from pathlib import Path

import pytest

from services.cli.system.client import GraphqlClient
from services.cli.system.launch import create_account
from services.embedded.data_folder import DataFolder
from tests.deadline import deadline_seconds, eventually, poll
from tests.factories import quiz_definition
from tests.imports import import_quiz
from tests.players import PASSWORD, endpoints, register, shows, stream, until
from tests.servers import HOST, RunningStack, free_port, is_alive, running, running_stack, topten, unique

RIGHT = [("q5", "true")]


def run(*arguments: str, **environ: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        topten(*arguments),
        capture_output=True,
        text=True,
        timeout=deadline_seconds(),
        env={**os.environ, **environ},
        check=False,
    )


def alive(pids: Sequence[int]) -> list[int]:
    return [pid for pid in pids if is_alive(pid)]


@pytest.mark.slow
async def test_every_way_to_stop_leaves_no_process_and_keeps_the_data() -> None:
    """About 20 s: the whole system starts three times."""
    with running_stack() as stack:
        async with GraphqlClient(endpoints(stack).graphql) as client:
            player = await register(client, username=unique("again"))
            await player.submit("arithmetic-sprint", RIGHT)
        children = stack.pids
        assert len(children) == 8
        assert alive(children) == children
        assert stat.S_IMODE((stack.data / "endpoints.json").stat().st_mode) == 0o600
        assert stack.stop() == 0
        assert alive(children) == [], "Ctrl-C leaves no process"

        stack.start()
        await shows_score(stack, player.username, 5)
        children = stack.pids
        stack.kill()
        assert alive(children) == [], "no process is left of a killed supervisor"

        stack.start()
        await shows_score(stack, player.username, 5)
        children = stack.pids
        assert stack.process is not None
        stack.process.send_signal(signal.SIGHUP)
        assert stack.process.wait(deadline_seconds()) == 0, "a closed terminal stops it in order"
        assert alive(children) == []


def test_an_invalid_setting_is_one_clear_line_before_anything_starts(tmp_path: Path) -> None:
    done = run("up", "--port", str(free_port()), "--data", str(tmp_path), TOPTEN_LEADERBOARD_TICK="banana")
    assert done.returncode == 2
    assert "topten: TOPTEN_LEADERBOARD_TICK='banana': must be a duration" in done.stderr
    assert not (tmp_path / "logs").exists(), "nothing was started"


def test_an_unusable_data_folder_is_one_clear_line(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    done = run("up", "--data", str(tmp_path / "file"))
    assert done.returncode == 2
    assert re.fullmatch(r"topten: The data folder .*/file cannot be written: .*--data.*\n", done.stderr)


async def test_stores_named_by_url_replace_the_embedded_ones(tmp_path: Path) -> None:
    """With Valkey in the place of Redis."""
    async with running("mongo") as mongo, running("valkey") as redis, running("nats") as nats:
        (tmp_path / "mongo").write_text(f"{mongo.url}\n")
        urls = {
            "TOPTEN_MONGO_URL_FILE": str(tmp_path / "mongo"),
            "TOPTEN_REDIS_URL": redis.url,
            "TOPTEN_NATS_URL": nats.url,
        }
        with running_stack(urls) as stack:
            assert stack.endpoints["stores"] == {"mongo": mongo.url, "redis": redis.url, "nats": nats.url}
            assert len(stack.pids) == 5, "processes only"
            async with GraphqlClient(endpoints(stack).graphql) as client:
                player = await register(client)
                await player.submit("arithmetic-sprint", RIGHT)
                async with stream(stack.http, player.access_token) as events:
                    await until(events, shows(player.username, 5))
            assert stack.endpoints["moderator"]["username"] == "mira"
            await second_signal_exits_at_once(stack)
        with running_stack(urls) as another:
            moderator = another.endpoints["moderator"]
            assert moderator["username"] != "mira", "the password of mira is in another folder"
            async with GraphqlClient(endpoints(another).graphql) as client:
                await client.login(**moderator)


async def second_signal_exits_at_once(stack: RunningStack) -> None:
    children = stack.pids
    os.kill(stack.pid_of("edge"), signal.SIGSTOP)  # an orderly stop would wait for it
    process = stack.process
    assert process is not None

    async def exited() -> bool:
        process.send_signal(signal.SIGINT)
        return process.poll() is not None

    await eventually(exited, "the second signal ended it")
    assert process.returncode == 1, "not stopped in order"
    poll(lambda: not alive(children), "no process is left after the second signal")


async def shows_score(stack: RunningStack, username: str, score: int) -> None:
    async with GraphqlClient(endpoints(stack).graphql) as client:
        document = "mutation ($i: LoginInput!) { login(input: $i) { accessToken } }"
        login = await client.execute(document, {"i": {"username": username, "password": PASSWORD}})
        data = await client.execute("{ me { score rank } }", {}, login["login"]["accessToken"])
    assert data["me"]["score"] == score


def test_a_port_in_use_is_one_clear_line(tmp_path: Path) -> None:
    with socket.create_server((HOST, 0)) as listener:
        port = listener.getsockname()[1]
        done = run("up", "--port", str(port), "--data", str(tmp_path))
    assert done.returncode == 2
    assert re.fullmatch(rf"topten: Port {port} cannot be used: .*--port.*\n", done.stderr)


def test_an_unknown_setting_is_refused(tmp_path: Path) -> None:
    done = run("up", "--data", str(tmp_path), TOPTEN_LEADERBOARD_TIKC="1s")
    assert done.returncode == 2
    assert "TOPTEN_LEADERBOARD_TIKC" in done.stderr


def test_a_data_folder_in_use_is_one_clear_line(stack: RunningStack) -> None:
    done = run("up", "--port", str(free_port()), "--data", str(stack.data))
    assert done.returncode == 2
    assert "Another Topten uses" in done.stderr


def test_a_killed_child_is_reported_and_restarted(stack: RunningStack) -> None:
    pid = stack.pid_of("leaderboard")
    os.kill(pid, signal.SIGKILL)
    output = stack.data.with_suffix(".out")
    poll(lambda: stack.pid_of("leaderboard") != pid, "leaderboard was restarted")
    poll(lambda: "leaderboard was killed by SIGKILL" in output.read_text(), "the restart was reported")


def test_an_invalid_quiz_file_does_not_stop_the_import_of_a_valid_one(stack: RunningStack, tmp_path: Path) -> None:
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
    assert done.stdout == f"{good}: {quiz_id}: version 1: 1 taken\n"
    assert f"{bad}: title: must be at least 1 character\n" in done.stderr
    assert f"{bad}: attempts.max: must be" in done.stderr
    again = run("quiz", "import", str(good), "--data", str(stack.data))
    assert (again.returncode, again.stdout) == (0, f"{good}: {quiz_id}: version 1, unchanged: 1 taken\n")


def test_files_of_other_formats_are_imported_without_what_is_refused(stack: RunningStack, tmp_path: Path) -> None:
    quiz_id = unique("bank-")
    bank, table = tmp_path / f"{quiz_id}.gift", tmp_path / f"{quiz_id}.csv"
    bank.write_text("::one::Two and two? {=4 ~5}\n\nWhy? {}\n")
    table.write_text("question,correct\nSky is blue,true\n")
    checked = run("quiz", "import", str(bank), "--dry-run", "--data", str(tmp_path / "nothing"))
    assert checked.stdout == f"{bank}: {quiz_id}: valid: 1 taken, 1 refused\n{bank}: line 1: taken\n"
    assert checked.stderr == f"{bank}: line 3: refused: questions of the kind 'essay' are not supported\n"
    done = run("quiz", "import", str(bank), str(table), str(tmp_path), "--data", str(stack.data))
    assert (done.returncode, done.stdout) == (1, f"{bank}: {quiz_id}: version 1: 1 taken, 1 refused\n")
    assert f"{table}: id: {quiz_id} is also that of {bank}\n{tmp_path}: Is a directory\n" in done.stderr


async def test_an_exported_quiz_is_the_imported_one(stack: RunningStack, tmp_path: Path) -> None:
    quiz_id = unique("out-")
    await import_quiz(endpoints(stack), quiz_definition(quiz_id, max_attempts=3))
    done = run("quiz", "export", quiz_id, "nowhere", "--to", str(tmp_path), "--data", str(stack.data))
    file = tmp_path / f"{quiz_id}.json"
    assert (done.returncode, done.stdout) == (1, f"{file}: version 1\n")
    assert done.stderr == "nowhere: No quiz has this ID.\n"
    assert file.stat().st_mode & 0o777 == 0o600
    again = run("quiz", "import", str(file), "--data", str(stack.data))
    assert again.stdout == f"{file}: {quiz_id}: version 1, unchanged: 2 taken\n"
    every = run("quiz", "export", "--all", "--format", "gift", "--to", str(tmp_path), "--data", str(stack.data))
    assert every.returncode == 0, every.stderr
    assert f"{quiz_id}.gift: GIFT does not keep tags, attempts\n" in every.stderr
    assert len([*tmp_path.glob("*.gift")]) == len(every.stdout.splitlines()) > 6


async def test_a_role_is_granted_and_revoked_by_username(stack: RunningStack) -> None:
    async with GraphqlClient(endpoints(stack).graphql) as client:
        player = await register(client)
    done = run("user", "grant", player.username, "--role", "author", "--data", str(stack.data))
    assert (done.returncode, done.stdout) == (0, f"{player.username}: author, player\n")
    taken = run("user", "revoke", player.username, "--role", "author", "--data", str(stack.data))
    assert (taken.returncode, taken.stdout) == (0, f"{player.username}: player\n")
    nobody = run("user", "grant", unique("nobody"), "--role", "author", "--data", str(stack.data))
    assert nobody.returncode == 1
    assert "PLAYER_NOT_FOUND" in nobody.stderr


async def test_a_demo_login_works_also_if_its_name_has_come_with_restored_data(
    stack: RunningStack, tmp_path: Path
) -> None:
    name, folder = unique("demo-"), DataFolder(tmp_path)
    async with GraphqlClient(f"{stack.http}/graphql") as client:
        await client.register(name, PASSWORD, "VN")
        made = [await create_account(client, folder, name, "VN") for _ in range(2)]
        assert made[0] == made[1], "a restart makes no third account"
        assert made[0]["username"].startswith(f"{name}-")
        assert await client.login(**made[0])


def test_verify_finds_no_differences_before_and_after_a_rebuild(stack: RunningStack) -> None:
    verified = run("verify", "--data", str(stack.data))
    assert (verified.returncode, "no differences" in verified.stdout) == (0, True), verified.stdout
    assert verified.stderr == "", "progress is for terminals"
    rebuilt = run("rebuild", "--data", str(stack.data))
    assert (rebuilt.returncode, "generation" in rebuilt.stdout) == (0, True), rebuilt
    verified = run("verify", "--data", str(stack.data))
    assert (verified.returncode, "no differences" in verified.stdout) == (0, True), verified.stdout


def test_config_masks_secrets() -> None:
    done = run("config", "identity", TOPTEN_MONGO_URL="mongodb://user:hunter2@db/", COLUMNS="200")
    assert done.returncode == 0
    assert "TOPTEN_IDENTITY_ACCESS_TTL" in done.stdout
    assert "hunter2" not in done.stdout
    assert run("config", "nothing").returncode == 2


def test_every_command_without_a_system_suggests_how_to_start_one(tmp_path: Path) -> None:
    for command in (["top"], ["verify"], ["rebuild"], ["user", "grant", "x", "--role", "player"]):
        done = run(*command, "--data", str(tmp_path))
        assert done.returncode == 2, command
        assert done.stderr.startswith(f"topten: Topten is not running. Start it with `make up DATA={tmp_path}`.")
