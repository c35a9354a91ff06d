"""Histories of scores, and dead letters that can be inspected and replayed."""

from __future__ import annotations

import asyncio
import json
import uuid
from datetime import UTC, datetime
from typing import Any

import nats
import pytest
from bson import Binary
from pymongo import AsyncMongoClient
from topten.quiz.v1 import quiz_events_pb2

from services.cli.system.client import GraphqlClient, GraphqlError
from tests.deadline import deadline, eventually
from tests.players import Player, endpoints, register, shows, stream, until
from tests.servers import RunningStack, run_topten, running_stack, unique

HISTORY = """query ($user: ID, $first: Int!, $after: String) {
  scoreHistory(userId: $user, first: $first, after: $after) {
    edges { cursor node {
      eventId userId revision kind oldScore newScore delta quizId actionId timestamp recordedAt ip userAgent
    } }
    pageInfo { hasNextPage hasPreviousPage endCursor }
  }
}"""


async def history(player: Player, **variables: Any) -> dict[str, Any]:
    variables = {"first": 20} | variables
    data = await player.client.execute(HISTORY, variables, player.access_token)
    connection: dict[str, Any] = data["scoreHistory"]
    return connection


async def scored(stack: RunningStack, player: Player, score: int) -> None:
    async with stream(stack.http, player.access_token) as events:
        await until(events, shows(player.username, score))


async def test_player_reads_every_change_of_their_score(stack: RunningStack) -> None:
    async with GraphqlClient(endpoints(stack).graphql) as client:
        player = await register(client)
        actions: list[str] = []
        for _ in range(3):
            result = await player.submit("arithmetic-sprint", [("q5", "true")])
            actions.insert(0, result["actionId"])

        async def three_rows() -> dict[str, Any]:
            page = await history(player)
            return page if len(page["edges"]) >= 3 else {}

        page = await eventually(three_rows, "three rows")
        rows = [edge["node"] for edge in page["edges"]]
        assert [row["actionId"] for row in rows] == actions, "the newest first"
        assert [(row["revision"], row["oldScore"], row["delta"], row["newScore"]) for row in rows] == [
            (3, 10, 5, 15),
            (2, 5, 5, 10),
            (1, 0, 5, 5),
        ]
        assert {row["quizId"] for row in rows} == {"arithmetic-sprint"}
        assert {row["kind"] for row in rows} == {"QUIZ_COMPLETED"}
        assert {(row["ip"], row["userAgent"]) for row in rows} == {(None, None)}, "personal, and not for players"
        first = await history(player, first=2)
        rest = await history(player, first=2, after=first["pageInfo"]["endCursor"])
        assert first["pageInfo"]["hasNextPage"]
        assert not rest["pageInfo"]["hasNextPage"]
        assert [edge["node"] for edge in first["edges"] + rest["edges"]] == rows
        with pytest.raises(GraphqlError) as refused:
            await history(player, after="x")
        assert refused.value.reason == "INVALID_ARGUMENT"


async def test_only_moderators_see_other_players_history_and_origins(
    stack: RunningStack,
) -> None:
    async with GraphqlClient(endpoints(stack).graphql) as client:
        player, other = await register(client), await register(client)
        await player.submit("arithmetic-sprint", [("q5", "true")])
        with pytest.raises(GraphqlError) as refused:
            await history(other, user=player.user_id)
        assert refused.value.reason == "PERMISSION_DENIED"
        account = stack.endpoints["moderator"]
        other.access_token = await client.login(account["username"], account["password"])

        async def rows() -> list[dict[str, Any]]:
            edges: list[dict[str, Any]] = (await history(other, user=player.user_id))["edges"]
            return edges

        edges = await eventually(rows, "a row of the player")
        with pytest.raises(GraphqlError) as refused:
            await history(other, user=other.user_id, after=edges[0]["cursor"])
        assert refused.value.reason == "CURSOR_EXPIRED", "it is a position in the history of the player"
        assert edges[0]["node"]["ip"] == "127.0.0.1"
        assert "Python" in edges[0]["node"]["userAgent"]


async def test_unreadable_event_becomes_a_dead_letter(stack: RunningStack) -> None:
    broker = await nats.connect(stack.endpoints["stores"]["nats"])
    try:
        stored = await broker.jetstream().publish(f"quiz.events.{unique('poison')}", b"\xff\xff no event")
    finally:
        await broker.close()
    letter = f"QUIZ_EVENTS:{stored.seq}"
    async with deadline("the dead letter"):
        while letter not in (listed := await run_topten("dlq", "list", data=stack.data)).stdout:
            await asyncio.sleep(0.05)
    assert listed.returncode == 1
    shown = await run_topten("dlq", "show", letter, data=stack.data)
    document = json.loads(shown.stdout)
    assert (shown.returncode, document["state"], document["event"]) == (0, "dead", None)
    replayed = await run_topten("dlq", "replay", letter, data=stack.data)
    assert (replayed.returncode, "still dead" in replayed.stdout) == (1, True)
    nothing = await run_topten("dlq", "show", unique("nothing"), data=stack.data)
    assert nothing.returncode == 1


async def test_replayed_dead_letter_counts_once() -> None:
    """On a separate system: the event has no recorded action, which every later verification would report."""
    with running_stack() as own:
        async with GraphqlClient(endpoints(own).graphql) as client:
            player = await register(client)
            event_id = str(uuid.uuid4())
            await add_dead_letter(own, event(event_id, player.user_id, 30))
            for _ in range(2):
                replayed = await run_topten("dlq", "replay", event_id, data=own.data)
                assert (replayed.returncode, replayed.stdout) == (0, f"{event_id}: counted\n")
            await scored(own, player, 30)
            assert [edge["node"]["eventId"] for edge in (await history(player))["edges"]] == [event_id]
            shown = json.loads((await run_topten("dlq", "show", event_id, data=own.data)).stdout)
            assert (shown["state"], shown["event"]["payload"]["scoreDelta"]) == ("replayed", 30)


def event(event_id: str, user_id: str, delta: int) -> bytes:
    message = quiz_events_pb2.QuizCompletedEvent(
        event_id=event_id,
        event_type="QUIZ_COMPLETED",
        payload=quiz_events_pb2.QuizCompletedPayload(
            user_id=user_id, quiz_id="solar-system", score_delta=delta, attempt=1, quiz_total=delta, country="VN"
        ),
    )
    message.payload.timestamp.GetCurrentTime()
    return message.SerializeToString()


async def add_dead_letter(stack: RunningStack, payload: bytes) -> None:
    """Store a valid event as a dead letter, as a version that could not decode it would have."""
    mongo: AsyncMongoClient[dict[str, object]] = AsyncMongoClient(stack.endpoints["stores"]["mongo"])
    async with mongo:
        await mongo["topten_score"]["dead_letters"].insert_one(
            {
                "_id": quiz_events_pb2.QuizCompletedEvent.FromString(payload).event_id,
                "reason": "not understood",
                "subject": "quiz.events.0.x",
                "sequence": 1,
                "payload": Binary(payload),
                "state": "dead",
                "at": datetime.now(UTC),
            }
        )
