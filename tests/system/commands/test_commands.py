"""The commands of an operator on a running, a half-broken, a stopped and a system that cannot start."""

from __future__ import annotations

import os
import re
import signal
import socket
import subprocess
from collections.abc import Iterator
from pathlib import Path

import aiohttp
import pytest
from typer.testing import CliRunner

from services.cli.app import app
from tests.deadline import deadline_seconds, poll
from tests.servers import HOST, RunningStack, free_port, is_alive, running, running_stack, topten

SECRET = "a-secret-of-the-shop-0123456789"
SETTINGS = {
    "TOPTEN_IDENTITY_SERVICE_CLIENTS": f'{{"shop": {{"secret": "{SECRET}", "scopes": ["leaderboard:read"]}}}}',
    "TOPTEN_LEADERBOARD_TICK": "123ms",
    "TOPTEN_UPSTREAM_QUIZ": f"{HOST}:9",
}
NEEDS_A_SYSTEM = (
    *(["status"], ["stop"], ["check"], ["verify"], ["rebuild"], ["doctor"], ["top", "weekly"], ["config", "--running"]),
    *(["dlq", "list"], ["dlq", "show", "x"], ["dlq", "replay"], ["quiz", "import", "--samples"]),
    *(
        ["user", "grant", "x", "--role", "player"],
        ["user", "erase", "x"],
        ["user", "list"],
        ["user", "sessions", "x"],
        ["backup", "-"],
    ),
    *(["user", "rename", "x", "y", "--reason", "z"], ["user", "end-sessions", "x", "--reason", "z"]),
    *(["user", "block", "x", "--reason", "z"], ["user", "unblock", "x", "--reason", "z"]),
    *(["action-type", "put", "-"], ["action-type", "list"], ["action-type", "archive", "x"], ["action", "submit", "-"]),
)


def run(*arguments: str, **environ: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        topten(*arguments),
        capture_output=True,
        text=True,
        timeout=deadline_seconds(),
        env={**os.environ, "COLUMNS": "200", **environ},
        check=False,
    )


@pytest.fixture(scope="module")
def started() -> Iterator[RunningStack]:
    """A system on a disk of 1000 MiB, half of which is no room for the stream's usual 1 GiB, where one can be mounted."""

    def mount(data: Path) -> None:
        subprocess.run(
            ["mount", "-t", "tmpfs", "-o", "size=1000m", "tmpfs", str(data)], capture_output=True, check=False
        )

    with running_stack(SETTINGS, prepare=mount) as stack:
        yield stack
        stack.kill()
        if stack.data.is_mount():
            subprocess.run(["umount", "--lazy", str(stack.data)], check=True)


@pytest.fixture
def own(started: RunningStack) -> RunningStack:
    """A system for the module; it runs again for the test that follows the one that stopped it."""
    assert started.process is not None
    if started.process.poll() is not None:
        started.start()
    return started


def test_status_shows_every_store_and_process_with_its_address(own: RunningStack) -> None:
    done = run("status", "--data", str(own.data))
    assert done.returncode == 0, done.stdout + done.stderr
    assert own.http in done.stdout
    rows = {line.split()[0]: line.split() for line in done.stdout.splitlines()[2:]}
    assert rows.keys() == {"mongo", "redis", "nats", "identity", "quiz", "score", "leaderboard", "edge"}
    for name, row in rows.items():
        assert row[1:3] == ["ready", str(own.pid_of(name))]
        assert row[3].startswith(f"{HOST}:")


def test_config_tells_what_the_processes_use_and_from_where(own: RunningStack) -> None:
    done = run("config", "--running", "--data", str(own.data))
    assert done.returncode == 0, done.stderr
    assert str(own.data) in done.stdout
    rows = {
        line.split()[0]: " ".join(line.split()[1:]) for line in done.stdout.splitlines() if line.startswith("TOPTEN_")
    }
    assert rows["TOPTEN_LEADERBOARD_TICK"] == "123ms environment leaderboard"
    assert rows["TOPTEN_AUTH_ISSUER"] == "topten default all"
    assert rows["TOPTEN_EDGE_HTTP_ADDRESS"] == f"{HOST}:{own.port} topten up edge"
    assert rows["TOPTEN_MONGO_URL"].startswith("******** topten up")
    assert rows["TOPTEN_IDENTITY_SERVICE_CLIENTS"] == "******** topten up identity"
    secrets = [path.read_text().strip() for path in (own.data / "secrets").iterdir()]
    assert not any(secret in done.stdout for secret in [SECRET, *secrets])
    assert "TOPTEN_EDGE" not in run("config", "quiz", "--running", "--data", str(own.data)).stdout


def test_a_setting_that_the_stack_replaces_is_named(own: RunningStack) -> None:
    assert "TOPTEN_UPSTREAM_QUIZ is ignored: `topten up` chooses it." in own.output
    assert "TOPTEN_LEADERBOARD_TICK is ignored" not in own.output


async def test_a_client_of_the_settings_works_beside_those_of_the_stack(own: RunningStack) -> None:
    url = f"{own.endpoints['identity_http']}/oauth/token"
    form = {"grant_type": "client_credentials", "client_id": "shop", "client_secret": SECRET}
    async with aiohttp.ClientSession() as session, session.post(url, data=form) as response:
        assert (response.status, (await response.json())["scope"]) == (200, "leaderboard:read")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ('{"quiz": {"secret": "0123456789abcdef"}}', "quiz belongs to Topten"),
        ('{"shop": {"secret": "short"}}', "must be a JSON object|at least 16 characters"),
        ("[", "must be a JSON object"),
    ],
)
def test_declared_clients_that_cannot_be_added_are_one_clear_line(tmp_path: Path, text: str, message: str) -> None:
    done = run("up", "--port", str(free_port()), "--data", str(tmp_path), TOPTEN_IDENTITY_SERVICE_CLIENTS=text)
    assert done.returncode == 2
    assert re.search(f"topten: TOPTEN_IDENTITY_SERVICE_CLIENTS: .*({message})", done.stderr)


def test_logs_prints_the_last_lines_of_each(own: RunningStack) -> None:
    one = run("logs", "quiz", "--lines", "2", "--data", str(own.data))
    assert (one.returncode, len(one.stdout.splitlines())) == (0, 2)
    every = run("logs", "-n", "1", "--data", str(own.data)).stdout.splitlines()
    assert {line.split()[0] for line in every} >= {"quiz", "mongo", "edge"}
    unknown = run("logs", "quizz", "--data", str(own.data))
    assert (unknown.returncode, "No log of quizz. Logs: edge, " in unknown.stderr) == (2, True)


def test_logs_follows_what_is_written(own: RunningStack, tmp_path: Path) -> None:
    shown = tmp_path / "shown"
    with shown.open("w") as file:
        following = subprocess.Popen(topten("logs", "edge", "-n", "0", "-f", "--data", str(own.data)), stdout=file)
    try:

        def appears() -> bool:
            with (own.data / "logs" / "edge.log").open("a") as log:
                log.write("a line for the test\n")
            return "a line for the test" in shown.read_text()

        poll(appears, "the new line is followed")
    finally:
        following.send_signal(signal.SIGINT)
        assert following.wait(deadline_seconds()) == 0


def test_check_and_top_find_the_system_by_the_data_folder(own: RunningStack) -> None:
    checked = run("check", "--data", str(own.data))
    assert checked.returncode == 0, checked.stdout + checked.stderr
    for arguments in (["weekly"], ["--board", "weekly"], ["weekly", "--board", "weekly"]):
        shown = run("top", *arguments, "--data", str(own.data))
        assert (shown.returncode, "week" in shown.stdout.lower()) == (0, True), shown.stdout + shown.stderr
    both = run("top", "weekly", "--board", "all", "--data", str(own.data))
    assert (both.returncode, "Name one." in both.stderr) == (2, True)


def test_no_dead_letters_is_said(own: RunningStack) -> None:
    for command in ("list", "replay"):
        done = run("dlq", command, "--data", str(own.data))
        assert (done.returncode, done.stdout) == (0, "No dead letters.\n")


def test_an_empty_list_is_said_and_stdout_stays_empty(own: RunningStack) -> None:
    nobody = "00000000-0000-4000-8000-000000000000"
    for command, what in (
        (["board", "list"], "defined boards"),
        (["action-type", "list"], "action types"),
        (["group", "list", nobody], "groups of this player"),
        (["webhook", "list"], "webhooks"),
        (["user", "list", "--blocked"], "such accounts"),
    ):
        done = CliRunner().invoke(app, [*command, "--data", str(own.data)])
        assert (done.exit_code, done.stdout, done.stderr) == (0, "", f"No {what}.\n"), command


def test_a_process_and_a_store_that_hang_are_named(own: RunningStack) -> None:
    """Both would accept a connection."""
    pids = [own.pid_of(name) for name in ("leaderboard", "redis")]
    for pid in pids:
        os.kill(pid, signal.SIGSTOP)
    try:
        status = run("status", "--data", str(own.data))
        assert status.returncode == 1
        for name in ("leaderboard", "redis"):
            assert re.search(rf"{name} +does not respond", status.stdout)
        assert "topten logs" in status.stderr
        checked = run("check", "--timeout", "2", "--data", str(own.data))
        assert checked.returncode == 1
        assert re.search(r"(register: |did not finish within 2 s: [\w -]+\.).*`topten status`", checked.stderr), (
            checked.stderr
        )
        config = run("config", "--running", "--data", str(own.data))
        assert (config.returncode, "No response from leaderboard." in config.stderr) == (1, True)
    finally:
        for pid in pids:
            os.kill(pid, signal.SIGCONT)


async def test_each_wrong_store_url_is_one_clear_line_before_anything_starts(tmp_path: Path) -> None:
    closed, password = free_port(), re.compile("pw[0-9a-f]{32}")
    with socket.create_server((HOST, 0)) as mute:
        silent = mute.getsockname()[1]
        async with running("redis") as redis, running("nats") as nats, running("mongo") as mongo:
            unreachable = (
                (f"mongodb://u:s3cret@{HOST}:{closed}/", "MongoDB cannot be reached at .* .Connection refused."),
                (f"redis://:s3cret@{HOST}:{closed}/0", "Redis cannot be reached at"),
                (f"nats://u:s3cret@{HOST}:{closed}", "NATS cannot be reached at"),
            )
            refused = (
                (mongo.url, "MongoDB refuses the user or password in TOPTEN_MONGO_URL"),
                (redis.url, "Redis refuses the user or password in TOPTEN_REDIS_URL"),
                (nats.url, "NATS refuses the user or password in TOPTEN_NATS_URL"),
            )
            mute_mongo = ((f"mongodb://u:s3cret@{HOST}:{silent}/", "MongoDB does not answer as MongoDB"),)
            for wrong in (unreachable, refused, mute_mongo):
                urls = {
                    f"TOPTEN_{name}_URL": password.sub("s3cret", url)
                    for name, (url, _) in zip(("MONGO", "REDIS", "NATS"), wrong, strict=False)
                }
                done = run("up", "--port", str(free_port()), "--data", str(tmp_path / "data"), **urls)
                assert done.returncode == 2
                for line, (_, message) in zip(done.stderr.splitlines(), wrong, strict=True):
                    assert re.fullmatch(f"topten: {message}.*", line), done.stderr
                assert "s3cret" not in done.stderr
    assert not (tmp_path / "data" / "logs").exists(), "nothing was started"


def test_a_small_disk_gets_a_small_stream(own: RunningStack) -> None:
    if not own.data.is_mount():
        pytest.skip("no file system can be mounted here")
    shown = run("config", "quiz", "--running", "--data", str(own.data)).stdout
    match = re.search(r"TOPTEN_QUIZ_STREAM_MAX_BYTES +(\d+) +topten up", shown)
    assert match is not None, shown
    assert int(match[1]) <= 500 << 20
    another = own.data / "another"
    refused = run("up", "--data", str(another), TOPTEN_QUIZ_STREAM_MAX_BYTES=str(1 << 30))
    assert refused.returncode == 2
    assert re.fullmatch(
        r"topten: TOPTEN_QUIZ_STREAM_MAX_BYTES=1073741824 is 1024 MiB; .* has room for \d+ MiB\. .*\n",
        refused.stderr,
    )


def test_stop_ends_everything_and_every_command_then_says_so(own: RunningStack) -> None:
    """The last test of the module, because it stops the system."""
    pids = own.pids
    done = run("stop", "--data", str(own.data))
    assert (done.returncode, done.stdout) == (0, "Topten is stopped.\n"), done.stderr
    assert own.process is not None
    assert own.process.wait(deadline_seconds()) == 0
    assert not [pid for pid in pids if is_alive(pid)]
    for command in NEEDS_A_SYSTEM:
        # In this process: twenty starts of Python take half a minute.
        gone = CliRunner().invoke(app, [*command, "--data", str(own.data)])
        assert gone.exit_code == 2, command
        expected = f"topten: Topten is not running. Start it with `make up DATA={own.data}`."
        assert gone.stderr.startswith(expected), (command, gone.stderr)
        assert gone.stderr.count("\n") == 1, gone.stderr
    assert run("logs", "quiz", "--data", str(own.data)).returncode == 0, "logs stay"
