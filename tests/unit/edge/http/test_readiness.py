"""When an edge takes players: its checks are scripted here; system/http/test_graphql_http.py has real services."""

from __future__ import annotations

from collections.abc import Mapping
from types import SimpleNamespace

from edge.upstreams import Readiness

SERVICES = ("identity", "quiz", "score", "leaderboard")


async def test_an_edge_stays_ready_until_it_reaches_no_service() -> None:
    serving = dict.fromkeys((*SERVICES, "quizzes"), False)

    class Scripted(Readiness):
        async def checks(self) -> Mapping[str, bool]:
            return serving

    readiness = Scripted(SimpleNamespace(health=dict.fromkeys(SERVICES)))  # type: ignore[arg-type]  # all it reads
    serving |= dict.fromkeys(serving, True) | {"quizzes": False}
    assert not await readiness.takes_players(), "there is no quiz"
    serving["quizzes"] = True
    assert await readiness.takes_players()
    serving |= dict.fromkeys(serving, False) | {"score": True}
    assert await readiness.takes_players(), "boards and sessions do not need every service"
    serving["score"] = False
    assert not await readiness.takes_players(), "it is cut off"
