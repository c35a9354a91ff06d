"""Simulated players play through the public interface and move the board."""

from __future__ import annotations

import os
import shlex
import signal
import subprocess

from services.cli.demo.demo_players import NAMES
from services.cli.system.client import GraphqlClient
from services.embedded.stack import wait_for_edge
from tests.deadline import eventually, poll
from tests.players import Player, endpoints, register
from tests.servers import running_stack


async def test_simulated_players_keep_scoring_after_a_restart_of_the_edge() -> None:
    with running_stack(None, "--demo", "20") as stack:
        async with GraphqlClient(endpoints(stack).graphql) as client:
            watcher = await register(client)
            await eventually(lambda: demo_scores(watcher), "a demo player on the board")
        assert "20 simulated players: Akira, Amara, " in stack.output
        log = stack.data / "logs" / "demo.log"
        poll(lambda: "is the first simulated player with a result" in log.read_text(), "the first result is logged")
        assert stack.printed().endswith("  Ctrl-C stops everything; the data stays.\n"), "no log line follows"
        command = next(line for line in stack.printed().splitlines() if line.endswith("  the live board"))
        words = shlex.split(command)[:-3]
        poll(lambda: b" All time " in subprocess.run(words, capture_output=True, check=False).stdout, "as printed")
        pid = stack.pid_of("edge")
        os.kill(pid, signal.SIGKILL)
        poll(lambda: stack.pid_of("edge") != pid, "the edge was restarted")
        await wait_for_edge(stack.http)
        async with GraphqlClient(endpoints(stack).graphql) as client:
            watcher = await register(client)
            before = await demo_scores(watcher)

            async def changed() -> bool:
                return await demo_scores(watcher) != before

            await eventually(changed, "a demo player scored after the restart")


async def demo_scores(watcher: Player) -> dict[str, int]:
    return {entry["username"]: entry["score"] for entry in await watcher.top() if entry["username"] in NAMES}
