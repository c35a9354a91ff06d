"""Requests that are made to be dear: each is refused for the reason that fits, or executed, and none is our fault.

What they cost in time is measured (`make bench ARGS=documents`), not asserted here: what bounds it is counted.
"""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest

from services.local.client import GraphqlClient
from tests.attacks import COERCED, PARSED, VALIDATED, Attack, executed, generated
from tests.players import endpoints
from tests.servers import RunningStack
from tests.system.graphql import Answer, Web, browsing

SEEDS = 150


@pytest.fixture
async def web(stack: RunningStack) -> AsyncIterator[Web]:
    """A client; whatever it was answered, the edge's log tells of no fault."""
    log = stack.data / "logs" / "edge.log"
    before = log.stat().st_size
    async with browsing(stack.http) as opened:
        yield opened
    with log.open("rb") as file:
        file.seek(before)
        written = file.read().decode()
    assert "Traceback" not in written
    assert " error " not in written


async def sent(web: Web, attack: Attack, token: str = "") -> Answer:
    headers = {"Content-Type": "application/json"} | ({"Authorization": f"Bearer {token}"} if token else {})
    return await web.request("POST", "/graphql", data=attack.body, headers=headers)


def reason(answer: Answer) -> str:
    errors = answer.body.get("errors")
    return errors[0]["extensions"]["reason"] if errors else ""


@pytest.mark.parametrize("attack", [*PARSED, *VALIDATED, *COERCED], ids=lambda attack: attack.name)
async def test_an_attack_is_refused_for_what_it_is(web: Web, attack: Attack) -> None:
    answer = await sent(web, attack)
    assert answer.status < 500
    assert reason(answer) == attack.reason


async def test_what_is_as_large_as_may_be_executed_is_answered(stack: RunningStack, web: Web) -> None:
    player = stack.endpoints["players"][0]
    async with GraphqlClient(endpoints(stack).graphql) as client:
        token = await client.login(player["username"], player["password"])
    for attack in executed():
        answer = await sent(web, attack, token)
        assert (answer.status, reason(answer)) == (200, ""), attack.name


async def test_documents_of_chance_are_never_the_server_s_fault(web: Web) -> None:
    reasons = set()
    for seed in range(SEEDS):
        answer = await sent(web, Attack(f"seed {seed}", generated(seed)))
        assert answer.status < 500, seed
        reasons.add(reason(answer))
    assert reasons == {"DOCUMENT_TOO_COSTLY", "INVALID_ARGUMENT"}
