"""Actions with metadata on boards: what a plain computation says is shown, and what every way to read a board shows."""

from __future__ import annotations

import json
import uuid
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime, timedelta
from operator import methodcaller
from random import Random
from typing import NamedTuple

from topten.action.v1.action_events_pb2 import ActionCompletedEvent
from topten.quiz.v1.quiz_events_pb2 import ActionVoidedEvent

from services.boards.board import Board
from services.boards.definition import Definition
from services.leaderboard.reading.boards import Boards
from services.streams import ACTION_COMPLETED, ACTION_VOIDED

Shown = Mapping[str, str]
"""Metadata by user id, of those who have any."""
PAGE = 7


class Act(NamedTuple):
    """An action as a test counts it; `text` is empty if its type shows no metadata."""

    event: ActionCompletedEvent
    text: str
    at: int

    @property
    def user_id(self) -> str:
        return self.event.payload.user_id

    @property
    def points(self) -> int:
        return self.event.payload.score_delta


def act(
    user_id: str, points: int, at: datetime, metadata: Mapping[str, str] | None = None, *, action_type: str = "run"
) -> Act:
    """Return a new action. The type `run` shows metadata, every other type has it in the history alone."""
    event = ActionCompletedEvent(event_id=str(uuid.uuid4()), event_type=ACTION_COMPLETED)
    payload = event.payload
    payload.user_id, payload.action_type_id, payload.score_delta = user_id, action_type, points
    payload.action_id, payload.attempt, payload.country = str(uuid.uuid4()), 1, "VN"
    payload.timestamp.FromDatetime(at)
    payload.metadata.update(metadata or {})
    payload.shows_metadata = action_type == "run" and bool(metadata)
    text = json.dumps(dict(metadata or {}), sort_keys=True, ensure_ascii=False, separators=(",", ":"))
    return Act(event, text if payload.shows_metadata else "", payload.timestamp.ToMilliseconds())


def void(action: Act) -> ActionVoidedEvent:
    """Return the event that takes an action back."""
    event = ActionVoidedEvent(event_id=str(uuid.uuid4()), event_type=ACTION_VOIDED)
    payload, of = event.payload, action.event.payload
    payload.user_id, payload.action_type_id, payload.score_delta = of.user_id, of.action_type_id, -of.score_delta
    payload.action_id, payload.attempt, payload.voided_event_id = of.action_id, 2, action.event.event_id
    payload.timestamp.CopyFrom(of.timestamp)
    payload.actor, payload.reason = "moderator", "test"
    return event


def random_acts(count: int, *, players: int, start: datetime, seed: int) -> tuple[list[Act], set[str]]:
    """Return actions a millisecond apart, and the event ids of those to be voided."""
    chance = Random(seed)
    acts = []
    for number in range(count):
        metadata = {"car": f"{number}", "Ж": '"😀"'} if chance.random() < 0.7 else None
        at = start + timedelta(milliseconds=number)
        acts.append(
            act(
                f"player-{chance.randrange(players)}",
                chance.randrange(0, 30),
                at,
                metadata,
                action_type=chance.choice(["run", "run", "jump"]),
            )
        )
    return acts, {each.event.event_id for each in acts if chance.random() < 0.25}


def expected(definition: Definition | None, acts: Iterable[Act], voided: set[str]) -> Shown:
    """Return what a board shows, by plain words; `definition` None is the board of all points."""
    by_player: defaultdict[str, list[Act]] = defaultdict(list)
    for each in sorted(acts, key=lambda each: each.at):
        source = f"action:{each.event.payload.action_type_id}"
        if each.event.event_id not in voided and (definition is None or {"all", source} & {*definition.sources}):
            by_player[each.user_id].append(each)
    aggregate = "sum" if definition is None else definition.aggregate
    shown = {}
    for user_id, of_player in by_player.items():
        earning = [each for each in of_player if each.points > 0]
        if aggregate == "latest":
            deciding = [each for each in of_player[-1:] if each.points > 0]
        elif aggregate == "count":
            deciding = of_player[-1:]
        elif aggregate == "sum":
            deciding = earning[-1:]
        else:
            sign = -1 if definition is not None and definition.is_ascending else 1
            deciding = sorted(earning, key=lambda each: (-sign * each.points, each.at))[:1]
        if deciding and deciding[0].text:
            shown[user_id] = deciding[0].text
    return shown


async def shown(boards: Boards, board: Board) -> Shown:
    """Return what a board shows, which every way to read it must agree about."""
    head = await boards.read(board, methodcaller("head", 1000))
    members = list(head.members)
    user_ids = [user_id for user_id, _ in members]
    found = {user_id: head.metadata[user_id] for user_id in user_ids if user_id in head.metadata}
    for start in range(0, len(members), PAGE):
        window = await boards.read(board, methodcaller("page", PAGE, members[start - 1] if start else None))
        assert list(window.members) == members[start : start + PAGE]
        _assert_same(window.metadata, found, user_ids[start : start + PAGE])
    for user_id in user_ids[:: max(1, len(user_ids) // 5)]:
        window = await boards.read(board, methodcaller("around", user_id, 2))
        _assert_same(window.metadata, found, [each for each, _ in window.members])
    if user_ids:
        standings = await boards.read(board, methodcaller("standings", user_ids))
        assert {each: standings[each].metadata for each in user_ids if standings[each].metadata} == found
    return found


def _assert_same(metadata: Shown, found: Shown, user_ids: Sequence[str]) -> None:
    assert {each: metadata[each] for each in user_ids if each in metadata} == {
        each: found[each] for each in user_ids if each in found
    }
