"""Whatever a restore loses and whatever is sent again, what is counted is what is on record."""

from __future__ import annotations

import random
import uuid
from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any

import pytest
from pymongo.asynchronous.database import AsyncDatabase
from topten.action.v1 import action_pb2
from topten.action.v1.action_events_pb2 import ActionCompletedEvent
from topten.quiz.v1 import quiz_events_pb2, quiz_pb2

from services.quiz.action_types.action_type import ActionType, from_definition
from services.quiz.amendments.moderation import Moderation
from services.quiz.config import Window
from services.quiz.player_lookup import Player
from services.quiz.questions.answers import selected
from services.quiz.questions.kinds import Choice
from services.quiz.quizzes.quiz import Question, Quiz
from services.quiz.submissions.action import Action, Report
from services.quiz.submissions.event_points import delta_of
from services.quiz.submissions.record_restoration import CORRECTED_BY, RecordRestoration
from services.quiz.submissions.reviews import Reviews
from services.quiz.submissions.service import SubmissionService
from services.quiz.submissions.store import SubmissionStore
from services.runtime.clock import utc_now
from services.runtime.config.settings import MongoConfig
from services.runtime.errors import Reason, ServiceError
from services.runtime.outbox.publishing import UnpublishedEvent
from services.runtime.stores.mongo import open_mongo
from services.streams import ACTION_COMPLETED, ACTION_VOIDED, QUIZ_COMPLETED, SCORE_ADJUSTED
from tests.servers import unique

COUNTINGS = (
    quiz_pb2.COUNTING_BEST,
    quiz_pb2.COUNTING_FIRST,
    quiz_pb2.COUNTING_LAST,
    quiz_pb2.COUNTING_AVERAGE,
    quiz_pb2.COUNTING_SUM,
)
MESSAGES: dict[str, Any] = {
    ACTION_COMPLETED: ActionCompletedEvent,
    QUIZ_COMPLETED: quiz_events_pb2.QuizCompletedEvent,
    ACTION_VOIDED: quiz_events_pb2.ActionVoidedEvent,
    SCORE_ADJUSTED: quiz_events_pb2.ScoreAdjustedEvent,
}
RUN = from_definition(
    action_pb2.ActionType(
        action_type_id="run",
        submitters=action_pb2.ActionType.SERVICES,
        rule=action_pb2.Rule(per_unit=action_pb2.PerUnitRule(points_per_unit=7, max_units=100)),
        tags=["red"],
        shows_metadata=True,
    ),
    1,
)
PLAYER = "0192f0c5-0000-7000-8000-000000000001"


class Outbox:
    """Takes the place of the outbox: what it would publish is on the stream."""

    lease = timedelta(seconds=5)
    recorded_on = "this data"

    def __init__(self) -> None:
        self.stream: list[bytes] = []

    def publish(self, *events: UnpublishedEvent) -> None:
        self.stream += [event.data for event in events]


@dataclass
class Context:
    """Takes the place of identity, of the quiz cache and of deliveries: one quiz, and a player who may play."""

    counting: quiz_pb2.Counting.ValueType
    country: str = "VN"

    async def quiz(self, quiz_id: str) -> Quiz:
        questions = {f"q{number}": Question(2**number, Choice(frozenset("ab"), "a")) for number in range(4)}
        return Quiz(quiz_id, 1, questions, 0, self.counting, None, None, quiz_pb2.Quiz(tags=["red", "Not one"]))

    async def players(self, user_ids: Iterable[str]) -> dict[str, Player]:
        return dict.fromkeys(user_ids, Player(country=self.country))

    async def current(self, action_type_ids: Iterable[str]) -> dict[str, ActionType]:
        return dict.fromkeys(action_type_ids, RUN)

    async def find(self, user_id: str) -> Context:
        return self

    async def first(self, deliveries: Iterable[tuple[str, str]]) -> dict[tuple[str, str], datetime]:
        return {}


@dataclass
class System:
    """Quiz on a real database, and the ledger: the change of the score by each event."""

    database: AsyncDatabase[dict[str, Any]]
    counting: quiz_pb2.Counting.ValueType
    ledger: dict[str, bytes] = field(default_factory=dict)
    lost: list[tuple[str, Any]] = field(default_factory=list)

    def __post_init__(self) -> None:
        context: Any = Context(self.counting)
        self.outbox = Outbox()
        outbox: Any = self.outbox
        self.store = SubmissionStore(self.database)
        window = Window(timedelta(hours=1), timedelta(hours=1))
        self.submissions = SubmissionService(
            self.store,
            context,
            context,
            context,
            outbox,
            context,
            context,
            Reviews(self.store, context, now=utc_now),
            window=window,
            version_grace=timedelta(hours=1),
            now=utc_now,
        )
        self.moderation = Moderation(self.store, context, outbox, context, now=utc_now)
        self.restoration = RecordRestoration(self.store, context, outbox, now=utc_now)

    async def act(self, kind: str, about: Any) -> None:
        try:
            if kind == QUIZ_COMPLETED:
                action_id, answers = about
                client = quiz_pb2.Client()
                await self.submissions.submit_action(
                    Action(PLAYER, "VN", action_id, "quiz", answers, utc_now(), client)
                )
            elif kind == ACTION_COMPLETED:
                action_id, units = about
                report = Report("run", ("quantity", units), actor="service:shop")
                action = Action(PLAYER, "", action_id, "", (), None, quiz_pb2.Client(), report)
                (outcome,) = await self.submissions.submit_actions([action])
                assert isinstance(outcome, tuple), outcome
            elif kind == ACTION_VOIDED:
                await self.moderation.void_action(PLAYER, about, "a test", actor="ada")
            else:
                await self.moderation.adjust_score(PLAYER, 100, "a test", about, actor="ada")
        except ServiceError as error:
            assert error.reason is Reason.ACTION_NOT_FOUND, error  # the voided action is lost

    def count(self, data: bytes) -> None:
        self.ledger.setdefault(event_of(data).event_id, data)

    async def deliver(self, data: bytes, *, asks: bool) -> None:
        """Count an event, as a worker that knows of the restore or as one that does not know yet."""
        if asks:
            (data,) = await self.restoration.restore([(data, event_of(data).event_id in self.ledger)])
        if data:
            self.count(data)

    async def trace(self) -> None:
        """Show every row without a record to quiz, with what a row tells."""
        recorded = set(await self.store.recorded(list(self.ledger)))
        for event_id, data in list(self.ledger.items()):
            if event_id not in recorded:
                await self.restoration.restore([(row_event(data), True)])


def event_of(data: bytes) -> Any:
    kind = quiz_events_pb2.EventHeader.FromString(data).event_type
    return MESSAGES[kind].FromString(data)


def row_event(data: bytes) -> bytes:
    event = event_of(data)
    if event.event_type == ACTION_COMPLETED:
        for name in ("attempt", "client"):
            event.payload.ClearField(name)
    if event.event_type == QUIZ_COMPLETED:
        for name in ("points_awarded", "correct_answers", "total_questions"):
            event.payload.ClearField(name)
    result: bytes = event.SerializeToString()
    return result


def some_act(source: random.Random, actions: list[str]) -> tuple[str, Any]:
    kinds = [QUIZ_COMPLETED, ACTION_COMPLETED, ACTION_VOIDED, SCORE_ADJUSTED]
    kind = source.choices(kinds, [6, 3, 3 if actions else 0, 1])[0]
    if kind == ACTION_VOIDED:
        return kind, source.choice(actions)
    name = str(uuid.UUID(int=source.getrandbits(128), version=4))
    if kind == SCORE_ADJUSTED:
        return kind, name
    actions.append(name)
    if kind == ACTION_COMPLETED:
        return kind, (name, source.randrange(1, 9))
    return kind, (name, tuple(selected(f"q{number}", source.choice("ab")) for number in range(4)))


async def play(system: System, source: random.Random) -> None:
    actions: list[str] = []
    for _ in range(source.randrange(4)):
        await system.act(*some_act(source, actions))
    counted = source.randrange(len(system.outbox.stream) + 1)
    for data in system.outbox.stream[:counted]:
        system.count(data)
    ledger, records = dict(system.ledger), await system.database["submissions"].find().to_list()
    lost = [some_act(source, actions) for _ in range(source.randrange(1, 5))]
    for act in lost:
        await system.act(*act)
    # What was acknowledged after the backup is gone from the stream, and from the ledger as well.
    gone = source.randrange(counted, len(system.outbox.stream) + 1)
    on_stream = system.outbox.stream[gone:]
    system.outbox.stream.clear()
    await system.database["submissions"].delete_many({})
    if records:
        await system.database["submissions"].insert_many(records)
    system.ledger = ledger
    await system.store.prepare()
    system.submissions.forget()
    # Recorded before the backup and not on the stream any more: published again.
    recorded = await system.store.events([record["_id"] for record in records])
    on_stream = [data for event_id, data in recorded.items() if event_id not in ledger] + on_stream

    acts = [*lost, *(some_act(source, actions) for _ in range(2))]
    asks_from = source.randrange(len(on_stream) + 1)
    delivered = 0
    while on_stream or acts:
        if on_stream and source.random() < 0.5:
            await system.deliver(on_stream.pop(0), asks=delivered >= asks_from)
            delivered += 1
        elif acts:
            act = acts.pop(source.randrange(len(acts)))
            if source.random() < 0.7:
                await system.act(*act)
        if source.random() < 0.1:
            await system.trace()
    await system.trace()
    for data in system.outbox.stream:
        system.count(data)
    await system.trace()


@pytest.mark.parametrize("seed", range(60))
async def test_what_is_counted_is_what_is_on_record(mongo_url: str, seed: int) -> None:
    source = random.Random(seed)
    counting = COUNTINGS[seed % len(COUNTINGS)]
    async with open_mongo(MongoConfig(url=mongo_url, database=unique("t")), "quiz") as mongo:
        system = System(mongo.database, counting)
        await system.store.prepare()
        await play(system, source)
        records = {record["_id"]: record async for record in mongo.database["submissions"].find()}
        deltas = {event_id: delta_of(event_of(data).payload) for event_id, data in system.ledger.items()}
        # Every record is counted as recorded.
        assert {event_id: deltas.get(event_id) for event_id in records} == {
            event_id: record["delta"] for event_id, record in records.items()
        }
        # Whatever is about an action has its tags, and the event is what the record says.
        about_actions = [record for record in records.values() if record.get("kind") != SCORE_ADJUSTED]
        assert all(record["tags"] == ["red"] for record in about_actions)
        payloads = [event_of(system.ledger[record["_id"]]).payload for record in about_actions]
        assert all(list(payload.tags) == ["red"] for payload in payloads)
        # The score is what the attempts on record count for, and the adjustments.
        adjusted = [record for record in records.values() if record.get("kind") == SCORE_ADJUSTED]
        due = sum([(await system.store.last_tally(PLAYER, subject)).counted for subject in ("quiz", "action:run")])
        due += sum(record["delta"] for record in adjusted if record["actor"] != CORRECTED_BY)
        assert sum(deltas.values()) == due
