"""The use cases of quiz, one async method a verb."""

from __future__ import annotations

import asyncio
import base64
import binascii
import hmac
from collections import OrderedDict
from collections.abc import AsyncIterator, Callable, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING, Final

import structlog
import uuid_utils
from prometheus_client import Counter
from topten.identity.v1 import identity_pb2
from topten.quiz.v1 import quiz_pb2

from services.quiz.config import Window
from services.quiz.quiz import Quiz, from_definition, problems
from services.quiz.scoring import NOTHING, Answer, AnswerError, Tally, mark, tally
from services.quiz.submission import (
    Submission,
    SubmittedEvent,
    TakenError,
    completed_event,
    payload_digest,
)
from services.runtime.errors import Reason, ServiceError
from services.runtime.outbox import WaitingEvent

if TYPE_CHECKING:
    from services.quiz.cache import QuizCache
    from services.quiz.deliveries import Deliveries
    from services.quiz.players import Players
    from services.quiz.store import QuizStore
    from services.runtime.outbox import Outbox

# How often a submission is evaluated anew because another attempt of the player was recorded meanwhile.
MAX_RACES: Final = 20
# Last attempts that are kept, about 400 bytes each.
MAX_REMEMBERED: Final = 50_000
TOO_MANY_AT_ONCE: Final = "Too many attempts at once; nothing was recorded. Send it again."
DEFAULT_PAGE: Final = 20
AUDIT_PAGE: Final = 500

accepted = Counter("topten_actions_accepted_total", "Actions recorded for the first time")
_log = structlog.get_logger("quiz")


@dataclass(frozen=True, slots=True)
class Action:
    """What a player says he did, and who he is by his token."""

    user_id: str
    country: str
    action_id: str
    quiz_id: str
    answers: tuple[Answer, ...]
    client_time: datetime
    client: quiz_pb2.Client


@dataclass(frozen=True, slots=True)
class Page:
    """Quizzes by id, the token of the next page (empty if there is none), and how many there are in all."""

    quizzes: Sequence[quiz_pb2.Quiz]
    next_token: str
    total: int


class QuizService:
    """Reading quizzes, answering them, importing them."""

    def __init__(
        self,
        store: QuizStore,
        cache: QuizCache,
        outbox: Outbox,
        players: Players,
        deliveries: Deliveries,
        *,
        window: Window,
        now: Callable[[], datetime],
    ) -> None:
        self._players = players
        self._deliveries = deliveries
        self._store = store
        self._cache = cache
        self._outbox = outbox
        self._window = window
        self._now = now
        self._tallies: OrderedDict[tuple[str, str], Tally] = OrderedDict()

    async def submit_action(self, action: Action) -> tuple[Submission, bool]:
        """Score and record an action; the record, and whether it was recorded before this call.

        Idempotent by (user, action id): the same payload gives the first record for ever, another one
        ACTION_ID_CONFLICT. A refused action records nothing. Raises QUIZ_NOT_FOUND, QUIZ_CLOSED, ATTEMPTS_EXHAUSTED,
        TIMESTAMP_OUT_OF_WINDOW, INVALID_ARGUMENT; UNAVAILABLE if it can't be told whether it was recorded, in which
        case sending the same action again is safe and settles it.
        """
        received_at = self._now()
        digest = payload_digest(action.quiz_id, action.answers)
        try:
            return await self._submit(action, digest, received_at)
        except ServiceError as error:
            if error.reason is Reason.UNAVAILABLE:
                raise  # nothing was refused, and the store would not answer either
            # A replay is answered for ever, whatever has changed since and would refuse it now.
            recorded = await self._store.submission(action.user_id, action.action_id)
            if recorded is None:
                raise
            return self._replay(recorded, digest), True

    async def _submit(self, action: Action, digest: str, received_at: datetime) -> tuple[Submission, bool]:
        """As if the action were new, and nothing came after the last attempt that is known: an index refuses what did."""
        block, delivered_at = await asyncio.gather(
            self._players.block(action.user_id), self._deliveries.first(action.user_id, action.quiz_id)
        )
        if block is not None:
            raise _blocked(block)
        quiz = await self._quiz(action.quiz_id)
        self._check_times(quiz, action, received_at)
        try:
            marks = mark(quiz, action.answers)
        except AnswerError as error:
            violation = (f"answers[{error.index}]", str(error))
            raise ServiceError(Reason.INVALID_ARGUMENT, "An answer does not fit.", violations=[violation]) from None
        before, is_read = self._tallies.get((action.user_id, action.quiz_id), NOTHING), False
        for _ in range(MAX_RACES):
            if quiz.max_attempts and before.used >= quiz.max_attempts:
                if is_read:
                    raise ServiceError(
                        Reason.ATTEMPTS_EXHAUSTED, "Every attempt at this quiz is used.", max_attempts=quiz.max_attempts
                    )
                before, is_read = await self._store.last_tally(action.user_id, action.quiz_id), True
                continue
            after = tally(quiz.counting, before, marks.points)
            submission = Submission(
                event_id=str(uuid_utils.uuid7()),
                user_id=action.user_id,
                action_id=action.action_id,
                quiz_id=action.quiz_id,
                quiz_version=quiz.version,
                payload_digest=digest,
                answers=action.answers,
                marks=marks,
                tally=after,
                delta=after.counted - before.counted,
                client_time=action.client_time,
                received_at=received_at,
                country=action.country,
            )
            elapsed = None if delivered_at is None else received_at - delivered_at
            event = completed_event(submission, action.client, elapsed).SerializeToString()
            try:
                await self._record(submission, event)
            except TakenError:
                recorded, before = await asyncio.gather(
                    self._store.submission(action.user_id, action.action_id),
                    self._store.last_tally(action.user_id, action.quiz_id),
                )
                if recorded is not None:
                    return self._replay(recorded, digest), True
                is_read = True
                continue
            self._remember(submission)
            return submission, False
        raise ServiceError(Reason.UNAVAILABLE, TOO_MANY_AT_ONCE)

    async def quiz(self, quiz_id: str, reader: str) -> quiz_pb2.Quiz:
        """A quiz as players see it. `reader` is the player who is handed its questions, empty if it is no player.

        Raises QUIZ_NOT_FOUND, UNAVAILABLE.
        """
        quiz = await self._quiz(quiz_id)
        if reader:
            self._deliveries.delivered(reader, [quiz_id], self._now())
        return quiz.view

    async def quizzes(self, limit: int, token: str, tag: str, reader: str) -> Page:
        """A page of quizzes by id; `limit` 1 to 50, 0 is 20; `reader` as in `quiz`. See `QuizCache.page`.

        Raises INVALID_ARGUMENT for a token that is none, UNAVAILABLE.
        """
        after = _read_token(token)
        limit = limit or DEFAULT_PAGE
        found, total = await self._cache.page(after, limit + 1, tag)
        views = [from_definition(stored.definition, stored.version).view for stored in found[:limit]]
        next_token = _token(views[-1].quiz_id) if len(found) > limit else ""
        if reader:
            self._deliveries.delivered(reader, [view.quiz_id for view in views], self._now())
        return Page(views, next_token, total)

    async def import_quiz(self, definition: quiz_pb2.QuizDefinition) -> tuple[int, bool]:
        """Store a definition; its version, and whether it changed. Raises INVALID_ARGUMENT with every fault."""
        if faults := problems(definition):
            raise ServiceError(Reason.INVALID_ARGUMENT, "The quiz is not sound.", violations=faults)
        version, changed = await self._store.put_quiz(definition)
        if changed:
            await self._cache.changed(definition, version)
            _log.info("quiz imported", quiz_id=definition.quiz_id, version=version)
        return version, changed

    async def submitted_events(self) -> AsyncIterator[tuple[list[SubmittedEvent], int]]:
        """The events of all submissions, oldest first, up to 500 at a time, and how many there are. Raises UNAVAILABLE."""
        total = await self._store.count_submissions()
        page: list[SubmittedEvent] = []
        async for event in self._store.submitted_events():
            page.append(event)
            if len(page) == AUDIT_PAGE:
                yield page, total
                page = []
        yield page, total

    async def oldest_waiting(self) -> datetime | None:
        """When the oldest event was recorded that waits to be published; None if none waits. Raises UNAVAILABLE."""
        return await self._store.waiting.oldest_waiting()

    async def _quiz(self, quiz_id: str) -> Quiz:
        quiz = await self._cache.quiz(quiz_id)
        if quiz is None:
            raise ServiceError(Reason.QUIZ_NOT_FOUND, "There is no such quiz.")
        return quiz

    def _check_times(self, quiz: Quiz, action: Action, received_at: datetime) -> None:
        if not quiz.is_open(received_at):
            raise ServiceError(Reason.QUIZ_CLOSED, "The quiz is not open.")
        if not received_at - self._window.back <= action.client_time <= received_at + self._window.ahead:
            raise ServiceError(
                Reason.TIMESTAMP_OUT_OF_WINDOW,
                "The action's timestamp is too far from the server's time.",
                server_time=received_at.isoformat(timespec="milliseconds"),
            )

    async def _record(self, submission: Submission, event: bytes) -> None:
        try:
            await self._store.add(submission, event, self._now() + self._outbox.lease)
        except ServiceError:
            # The write may be done: what a majority has now decides, and if nobody can tell, neither can we.
            recorded = await self._store.submission(submission.user_id, submission.action_id)
            if recorded is None or recorded.event_id != submission.event_id:
                raise
        accepted.inc()
        self._outbox.publish(WaitingEvent(submission.event_id, submission.user_id, event))

    def _remember(self, last: Submission) -> None:
        """For the player's next attempt: what is in a chain stays, so an old tally is at worst refused its place."""
        key = (last.user_id, last.quiz_id)
        self._tallies[key] = last.tally
        self._tallies.move_to_end(key)
        if len(self._tallies) > MAX_REMEMBERED:
            self._tallies.popitem(last=False)

    def _replay(self, recorded: Submission, digest: str) -> Submission:
        if not hmac.compare_digest(recorded.payload_digest, digest):
            raise ServiceError(
                Reason.ACTION_ID_CONFLICT, "This action id was used before with another quiz or other answers."
            )
        return recorded


def _blocked(block: identity_pb2.Block) -> ServiceError:
    metadata = {"block_reason": block.reason}
    if block.HasField("expires_at"):
        metadata["expires_at"] = block.expires_at.ToJsonString()
    return ServiceError(Reason.PLAYER_BLOCKED, "You are blocked.", **metadata)  # type: ignore[arg-type]  # all are text


def _token(quiz_id: str) -> str:
    return base64.urlsafe_b64encode(quiz_id.encode()).decode()


def _read_token(token: str) -> str:
    try:
        return base64.b64decode(token.encode(), altchars=b"-_", validate=True).decode()
    except (binascii.Error, UnicodeError):
        violation = ("page_token", "is not a token of this list")
        raise ServiceError(Reason.INVALID_ARGUMENT, "The page token is not valid.", violations=[violation]) from None
