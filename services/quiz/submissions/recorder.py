"""Records the actions of a group: one insert for all, and one more for each that another record came before.

Owns the cached tallies. A tally that another instance has outdated takes a number in use, which the unique index refuses:
then the store is read, and the action is recorded again after what is there, or settled by the record it has already.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import suppress
from datetime import datetime
from typing import TYPE_CHECKING, Final

import uuid_utils
from cachetools import LRUCache
from prometheus_client import Counter

from services.quiz.quizzes.scoring import NOTHING, Tally
from services.quiz.quizzes.terms import tally_after
from services.quiz.submissions.action import PendingAction
from services.quiz.submissions.submission import Draft, Submission, TakenError, event_of_submission
from services.runtime.errors import Reason, ServiceError, late
from services.runtime.outbox.publishing import UnpublishedEvent
from services.runtime.stores.data_identity import DataIdentity
from services.runtime.telemetry import tracing

if TYPE_CHECKING:
    from services.quiz.submissions.store import SubmissionStore, TallyKey
    from services.runtime.outbox.publishing import Outbox

# How often a record is tried again because another one of the same player was written first.
MAX_CONFLICTS: Final = 20
# Cached tallies, about 400 bytes each.
MAX_TALLIES: Final = 50_000
CONFLICTS_EXCEEDED: Final = "Too many concurrent changes to this player's record. Nothing was recorded; send it again."

accepted = Counter("topten_actions_accepted_total", "Actions recorded for the first time")


class Recorder:
    """Gives actions their records. Use from one event loop; groups may be recorded at the same time."""

    def __init__(self, store: SubmissionStore, outbox: Outbox, *, now: Callable[[], datetime]) -> None:
        self._store = store
        self._outbox = outbox
        self._now = now
        # One of data that MongoDB no longer has is not used.
        self._tallies: LRUCache[TallyKey, tuple[DataIdentity, Tally]] = LRUCache(MAX_TALLIES)

    def forget(self) -> None:
        """Drop the cached tallies: the store has other records."""
        self._tallies.clear()

    async def read_ahead(self, keys: Iterable[TallyKey]) -> None:
        """Cache the tallies that are not cached. If the store does not respond, the insert will tell."""
        identity = self._store.identity
        cold = [key for key in dict.fromkeys(keys) if self._cached(key) is None]
        if cold:
            with suppress(ServiceError):
                for key, found in (await self._store.last_tallies(cold)).items():
                    if self._cached(key) is None:  # a record may have been written meanwhile
                        self._tallies[key] = identity, found

    async def record(self, group: Sequence[PendingAction]) -> None:
        """Settle every action that has no outcome yet; those of one player in this order.

        Raises UNAVAILABLE if the store does not respond: the actions without an outcome are then not recorded.
        """
        current: set[TallyKey] = set()  # whose tally was read since the group arrived
        while first := list(_next_of_each_player(group)):
            ready = [each for each in first if not self._is_refused(each, current)]
            behind = [each for each in ready if self._limit_reached(each)]  # by a cached tally
            await self._read(behind, current)
            await self._insert([each for each in ready if each not in behind], current)

    async def replay_refused(self, group: Sequence[PendingAction]) -> None:
        """Settle refused actions that were recorded before by their records, whatever would refuse them now.

        Raises UNAVAILABLE.
        """
        refused = [each for each in group if _may_have_a_record(each)]
        if refused:
            try:
                records = await self._store.submissions([each.record_key for each in refused])
            except ServiceError as error:
                for each in refused:
                    each.outcome = error
                return
            for each in refused:
                if recorded := records.get(each.record_key):
                    each.settle_as(recorded)

    def _is_refused(self, each: PendingAction, current: set[TallyKey]) -> bool:
        if time.monotonic() >= each.action.abandoned_at:
            each.outcome = late()
        elif each.tries >= MAX_CONFLICTS:
            each.outcome = ServiceError(Reason.UNAVAILABLE, CONFLICTS_EXCEEDED)
        elif each.tally_key in current:
            each.outcome = self._limit_reached(each)
        return each.outcome is not None

    def _limit_reached(self, each: PendingAction) -> ServiceError | None:
        return each.limit_reached(self._last(each.tally_key)[1])

    def _cached(self, key: TallyKey) -> tuple[DataIdentity, Tally] | None:
        cached = self._tallies.get(key)
        return cached if cached is not None and cached[0] == self._store.identity else None

    def _last(self, key: TallyKey) -> tuple[DataIdentity, Tally]:
        """Return the cached tally and the data that it is of."""
        return self._cached(key) or (self._store.identity, NOTHING)

    async def _read(self, behind: Sequence[PendingAction], current: set[TallyKey]) -> None:
        if behind:
            keys = list({each.tally_key for each in behind})
            identity = self._store.identity
            found = await self._store.last_tallies(keys)
            self._tallies.update({key: (identity, found.get(key, NOTHING)) for key in keys})
            current.update(keys)

    async def _insert(self, entries: Sequence[PendingAction], current: set[TallyKey]) -> None:
        """Insert a record for each; those with another record in their way are left for the next round."""
        if not entries:
            return
        drafts = [self._draft(each) for each in entries]
        recorded_on = self._outbox.recorded_on
        with tracing.step("submissions"):
            failures = await self._store.add_all(drafts, self._now() + self._outbox.lease)
        failures = await self._verified(entries, drafts, failures)
        taken: list[PendingAction] = []
        recorded: list[UnpublishedEvent] = []
        for each, draft, failure in zip(entries, drafts, failures, strict=True):
            if failure is None:
                self._tallies[each.tally_key] = draft.identity, draft.submission.tally
                each.outcome = draft.submission, False
                recorded.append(_event_of(draft, recorded_on))
            elif isinstance(failure, TakenError):
                each.tries += 1
                taken.append(each)
            else:
                each.outcome = failure
        accepted.inc(len(recorded))
        self._outbox.publish(*recorded)
        if taken:
            records, _ = await asyncio.gather(
                self._store.submissions([each.record_key for each in taken]), self._read(taken, current)
            )
            for each in taken:
                if earlier := records.get(each.record_key):
                    each.settle_as(earlier)

    async def _verified(
        self, entries: Sequence[PendingAction], drafts: Sequence[Draft], failures: Sequence[Exception | None]
    ) -> list[Exception | None]:
        """Replace unknown outcomes of a write: it may have happened, which a majority read decides, if that succeeds."""
        unknown = [each.record_key for each, failure in zip(entries, failures, strict=True) if _is_unknown(failure)]
        if not unknown:
            return list(failures)
        records = {}
        with suppress(ServiceError):
            records = await self._store.submissions(unknown)
        found = {record.event_id for record in records.values()}
        return [
            None if _is_unknown(failure) and draft.submission.event_id in found else failure
            for draft, failure in zip(drafts, failures, strict=True)
        ]

    def _draft(self, each: PendingAction) -> Draft:
        action = each.action
        identity, before = self._last(each.tally_key)
        after = tally_after(each.terms, before, each.received_at, each.marks.points)
        report = action.report
        submission = Submission(
            event_id=str(uuid_utils.uuid7()),
            user_id=action.user_id,
            action_id=action.action_id,
            quiz_id=action.quiz_id,
            version=each.terms.version,
            payload_digest=each.digest,
            answers=action.answers,
            marks=each.marks,
            tally=after,
            delta=after.counted - before.counted,
            client_time=action.client_time,
            received_at=each.received_at,
            country=each.country,
            action_type_id=report.action_type_id if report else "",
            happened=report.happened if report else None,
            metadata=report.metadata if report else "",
            actor=report.actor if report else "",
            elapsed_ms=each.elapsed_ms,
            tags=each.terms.tags,
            shows_metadata=bool(report and report.metadata and each.terms.shows_metadata),
        )
        elapsed = None if each.delivered_at is None else each.received_at - each.delivered_at
        event = event_of_submission(submission, action.client, elapsed)
        return Draft(submission, event, identity, action.trace)


def _event_of(draft: Draft, recorded_on: str) -> UnpublishedEvent:
    submission = draft.submission
    return UnpublishedEvent(submission.event_id, submission.user_id, draft.event, recorded_on, trace=draft.trace)


def _next_of_each_player(group: Iterable[PendingAction]) -> Iterator[PendingAction]:
    """Yield the first unsettled action of each player: a later one must follow from its record."""
    players = set()
    for each in group:
        if each.outcome is None and each.action.user_id not in players:
            players.add(each.action.user_id)
            yield each


def _may_have_a_record(each: PendingAction) -> bool:
    outcome = each.outcome
    # After UNAVAILABLE nothing was refused, and the store would not respond either.
    return isinstance(outcome, ServiceError) and outcome.reason is not Reason.UNAVAILABLE


def _is_unknown(failure: Exception | None) -> bool:
    return isinstance(failure, ServiceError)
