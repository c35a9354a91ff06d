"""`topten top`: a board in the terminal, live on the whole screen or printed once."""

from __future__ import annotations

import os
import signal
import subprocess

from services.cli.system.client import GraphqlClient
from services.embedded.stack import wait_for_edge
from tests.deadline import deadline_seconds, poll
from tests.factories import quiz_definition
from tests.imports import import_quiz
from tests.players import Player, endpoints, register
from tests.servers import RunningStack, topten, unique
from tests.terminal import ENTER_SCREEN, LEAVE_SCREEN, terminal


def run(stack: RunningStack, *arguments: str, **environ: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        topten("top", *arguments, "--data", str(stack.data)),
        capture_output=True,
        text=True,
        timeout=deadline_seconds(),
        env={**os.environ, **environ},
        check=False,
    )


async def new_board(stack: RunningStack, client: GraphqlClient) -> tuple[str, Player]:
    """Import a quiz with a board of its own, with one player on it."""
    quiz_id, player = unique("shown-"), await register(client)
    await import_quiz(endpoints(stack), quiz_definition(quiz_id))
    await player.submit(quiz_id, [("q1", "a")])
    return f"quiz:{quiz_id}", player


async def test_a_board_is_printed_once_and_plainly_into_a_pipe(stack: RunningStack) -> None:
    async with GraphqlClient(endpoints(stack).graphql) as client:
        board, player = await new_board(stack, client)

    def shown() -> str:
        done = run(stack, board, FORCE_COLOR="", COLUMNS="40")
        assert done.returncode == 0, done.stderr
        return done.stdout

    poll(lambda: player.username in shown(), "top shows the player")
    assert "\x1b" not in shown()
    assert "1 player" in shown()


def test_an_unknown_board_is_an_error_that_names_the_boards(stack: RunningStack) -> None:
    done = run(stack, "quiz:nowhere", "--watch")
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.startswith("topten: There is no board 'quiz:nowhere'. Boards are all, weekly, ")


async def test_the_live_board_takes_the_terminal_and_gives_it_back(stack: RunningStack) -> None:
    async with GraphqlClient(endpoints(stack).graphql) as client:
        board, first = await new_board(stack, client)
        second = await register(client)
        arguments = topten("top", board, "--data", str(stack.data))
        with terminal(arguments, columns=40, rows=14, NO_COLOR="") as screen:
            screen.shows(first.username)
            assert screen.written.startswith(ENTER_SCREEN)
            assert "Live" in screen.lines[1]
            await second.submit(board.removeprefix("quiz:"), [("q1", "a"), ("q2", "a")])
            screen.shows(second.username)
            screen.shows("▼1")
            assert {len(line) for line in screen.lines if "player-" in line} == {40}
            screen.resize(100, 14)
            screen.shows("━━━━━")
            screen.press("\t")
            screen.shows("This week")
            screen.press("\x1b[Zq")
            assert screen.ends() == 0
            assert screen.written.count(LEAVE_SCREEN) == 1


async def test_the_live_board_reconnects_after_a_restart_of_the_edge_and_ends_with_ctrl_c(stack: RunningStack) -> None:
    async with GraphqlClient(endpoints(stack).graphql) as client:
        board, before = await new_board(stack, client)
        after = await register(client)
        with terminal(topten("top", "--watch", board, "--data", str(stack.data)), NO_COLOR="1") as screen:
            screen.shows(before.username)
            pid = stack.pid_of("edge")
            os.kill(pid, signal.SIGKILL)
            screen.shows("Not live")
            poll(lambda: stack.pid_of("edge") != pid, "the edge was restarted")
            await wait_for_edge(stack.http)
            await after.submit(board.removeprefix("quiz:"), [("q1", "a")])
            screen.shows(after.username)
            screen.process.send_signal(signal.SIGINT)
            assert screen.ends() == 0
            assert LEAVE_SCREEN in screen.written
            assert "[3" not in screen.written, "no color"


async def test_without_color_a_terminal_gets_a_board_once(stack: RunningStack) -> None:
    with terminal(topten("top", "weekly", "--data", str(stack.data)), NO_COLOR="1") as screen:
        assert screen.ends() == 0
        assert " This week · " in screen.written
        assert "\x1b" not in screen.written
