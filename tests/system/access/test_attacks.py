"""Requests made to be costly: each is refused for the right reason or executed, and none is an internal error.

Their cost in time is measured by `make bench ARGS=documents`, not asserted here.
"""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest

from services.cli.system.client import GraphqlClient
from tests.attacks import COERCED, PARSED, VALIDATED, Attack, executed, generated
from tests.players import endpoints
from tests.servers import RunningStack
from tests.system.graphql import Answer, Web, browsing

SEEDS = 150


@pytest.fixture
async def web(stack: RunningStack) -> AsyncIterator[Web]:
    """A client. Whatever it sends, the edge logs no error."""
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
async def test_an_attack_is_refused_for_the_right_reason(web: Web, attack: Attack) -> None:
    answer = await sent(web, attack)
    assert answer.status < 500
    assert reason(answer) == attack.reason


async def test_the_largest_permitted_documents_are_executed(stack: RunningStack, web: Web) -> None:
    player = stack.endpoints["players"][0]
    async with GraphqlClient(endpoints(stack).graphql) as client:
        token = await client.login(player["username"], player["password"])
    for attack in executed():
        answer = await sent(web, attack, token)
        assert (answer.status, reason(answer)) == (200, ""), attack.name


async def test_random_documents_are_never_internal_errors(web: Web) -> None:
    reasons = set()
    for seed in range(SEEDS):
        answer = await sent(web, Attack(f"seed {seed}", generated(seed)))
        assert answer.status < 500, seed
        reasons.add(reason(answer))
    assert reasons == {"DOCUMENT_TOO_COSTLY", "INVALID_ARGUMENT"}
