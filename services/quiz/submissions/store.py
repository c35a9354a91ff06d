"""Submissions and amendments in MongoDB: the collection `submissions`.

Each is written once, together with its event. Two unique indexes decide every race: (user_id, action_id), and (user_id,
quiz_id, attempt), the number in the player's sequence of records about one subject. Writes of a group are one command and fail
independently.

A record continues a tally that was read before. If MongoDB's data was replaced since then, it is refused like one whose
number is taken, so a sequence never has a gap.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import AsyncIterator, Collection, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from operator import itemgetter
from typing import Any, Final
from uuid import uuid4

import structlog
from pymongo import ASCENDING, DESCENDING, UpdateOne
from pymongo.asynchronous.database import AsyncDatabase
from pymongo.errors import AutoReconnect
from pymongo.read_concern import ReadConcern

from services.quiz.amendments.amendment import Amendment
from services.quiz.quizzes.scoring import NOTHING, Tally
from services.quiz.submissions.documents import (
    Document,
    amendment_document,
    amendment_of,
    event_of,
    submission_document,
    submission_of,
    tally_in,
)
from services.quiz.submissions.submission import Draft, Submission, SubmittedEvent, TakenError
from services.runtime.errors import RETRY_AFTER, Reason, ServiceError
from services.runtime.outbox.publishing import UnpublishedEvent
from services.runtime.outbox.store import OutboxStore, republished_field
from services.runtime.pages import pages
from services.runtime.stores.data_identity import DataIdentity
from services.runtime.stores.mongo import SCAN, every_document, unavailable_on_failure
from services.runtime.stores.same_data import CollectionReplacedError, SameData
from services.runtime.uuid7 import first_uuid7
from services.streams import ACTION_REJUDGED

AUDIT_PAGE: Final = 500
RecordKey = tuple[str, str]
"""Player and action id."""
TallyKey = tuple[str, str]
"""Player and subject: a quiz, or `action:<type>`."""
_TALLY: Final = {"attempt": 1, "used": 1, "valid": 1, "points_sum": 1, "counted": 1, "recent": 1}
_BY_PLAYER: Final = [("user_id", ASCENDING), ("quiz_id", ASCENDING), ("attempt", DESCENDING)]
_DUPLICATE: Final = 11000
_log = structlog.get_logger("submissions")


@dataclass(slots=True)
class History:
    """What a player did about a subject.

    `points` are those of their actions by event id, in order, by which each was judged last; `voided` are the events of voided
    actions, `amendments` the keys of what was changed, `last` is the tally after all of it.
    """

    points: dict[str, int] = field(default_factory=dict)
    voided: set[str] = field(default_factory=set)
    amendments: set[str] = field(default_factory=set)
    last: Tally = NOTHING


class SubmissionStore:
    """The records. Every method raises UNAVAILABLE if the database does not respond; a write may then have happened."""

    def __init__(self, database: AsyncDatabase[Document]) -> None:
        self._database = database
        self._submissions = database["submissions"]
        self._same_data = SameData(database, self._submissions.name)
        self.outbox = OutboxStore(self._submissions, since="received_at")

    @property
    def identity(self) -> DataIdentity:
        """Which data is read; a draft and `amend` take the one of the moment before the tally was read."""
        return self._same_data.identity

    async def prepare(self) -> None:
        """Create the indexes and note which collection they are on. Idempotent."""
        async with unavailable_on_failure():
            await self._submissions.create_index([("user_id", ASCENDING), ("action_id", ASCENDING)], unique=True)
            await self._submissions.create_index(_BY_PLAYER, unique=True)
            await self._same_data.identify()
        await self.outbox.prepare()

    async def submission(self, user_id: str, action_id: str) -> Submission | None:
        """Return the record of an action."""
        async with unavailable_on_failure():
            document = await self._submissions.find_one({"user_id": user_id, "action_id": action_id})
        return None if document is None else submission_of(document)

    async def amendment(self, user_id: str, key: str) -> Amendment | None:
        """Return the amendment with this key."""
        async with unavailable_on_failure():
            document = await self._submissions.find_one({"user_id": user_id, "action_id": key})
        return None if document is None else amendment_of(document)

    async def last_tally(self, user_id: str, subject: str) -> Tally:
        """Return the tally after the player's last action or amendment about a subject; NOTHING if there is none."""
        async with unavailable_on_failure():
            document = await self._submissions.find_one(
                {"user_id": user_id, "quiz_id": subject},
                _TALLY,
                sort=[("attempt", DESCENDING)],
            )
        return NOTHING if document is None else tally_in(document)

    async def submissions(self, keys: Sequence[RecordKey]) -> dict[RecordKey, Submission]:
        """Return the records of these actions, by player and action id."""
        query = {"$or": [{"user_id": user_id, "action_id": action_id} for user_id, action_id in keys]}
        async with unavailable_on_failure():
            records = [submission_of(document) async for document in self._submissions.find(query)]
        return {(record.user_id, record.action_id): record for record in records}

    async def last_tallies(self, keys: Sequence[TallyKey]) -> dict[TallyKey, Tally]:
        """Return `last_tally` of many players and subjects in one query, without those that have none."""
        if len(keys) == 1:
            last = await self.last_tally(*keys[0])
            return {} if last == NOTHING else {keys[0]: last}
        wanted = [{"user_id": user_id, "quiz_id": subject} for user_id, subject in keys]
        last_of_each: Document = {
            "from": self._submissions.name,
            "let": {"user_id": "$user_id", "quiz_id": "$quiz_id"},
            "pipeline": [
                {
                    "$match": {
                        "$expr": {"$and": [{"$eq": [f"${name}", f"$${name}"]} for name in ("user_id", "quiz_id")]}
                    }
                },
                {"$sort": {"attempt": DESCENDING}},
                {"$limit": 1},
                {"$project": _TALLY},
            ],
            "as": "last",
        }
        async with unavailable_on_failure():
            rows = await self._database.aggregate([{"$documents": wanted}, {"$lookup": last_of_each}])
            return {(row["user_id"], row["quiz_id"]): tally_in(row["last"][0]) async for row in rows if row["last"]}

    async def attempts(self, user_id: str, subject: str) -> tuple[list[tuple[str, int]], set[str]]:
        """Return a player's actions about a subject in order, as event id and points, and the ids of the voided ones.

        The points are those by which an action was judged last.
        """
        history = (await self.histories([user_id], subject)).get(user_id, History())
        return list(history.points.items()), history.voided

    async def histories(self, user_ids: Sequence[str], subject: str) -> dict[str, History]:
        """Return the histories of players at a subject, from one read; players without any are left out."""
        fields = _TALLY | {"user_id": 1, "points": 1, "voids": 1, "kind": 1, "action_id": 1}
        query = {"user_id": {"$in": list(user_ids)}, "quiz_id": subject}
        async with unavailable_on_failure():
            records = await self._submissions.find(query, fields).to_list()
        found: dict[str, History] = {}
        for document in sorted(records, key=itemgetter("attempt")):
            history = found.setdefault(document["user_id"], History())
            history.last = tally_in(document)
            kind = document.get("kind")
            if kind is None:
                history.points[document["_id"]] = document["points"]
                continue
            history.amendments.add(document["action_id"])
            if kind != ACTION_REJUDGED:
                history.voided.add(document["voids"])
            elif document["points"] is not None and document["voids"] in history.points:
                history.points[document["voids"]] = document["points"]
        return found

    async def players_by_points(self, quiz_id: str) -> Mapping[int, int]:
        """Return how many players have each sum of what counts at a quiz. Reads through the keys of all quizzes."""
        players, last = Counter[int](), ""
        async with unavailable_on_failure():
            found = self._submissions.find({"quiz_id": quiz_id}, {"user_id": 1, "counted": 1}, hint=_BY_PLAYER)
            async for document in every_document(found.sort(_BY_PLAYER), within=SCAN):  # the last of a player first
                if document["user_id"] != last:
                    last = document["user_id"]
                    players[document["counted"]] += 1
        return players

    async def last_judgement(self, submission: Submission) -> Amendment | None:
        """Return by what an action was judged again last; None if it never was."""
        query = {
            "user_id": submission.user_id,
            "quiz_id": submission.subject,
            "kind": ACTION_REJUDGED,
            "voids": submission.event_id,
        }
        async with unavailable_on_failure():
            document = await self._submissions.find_one(query, sort=[("attempt", DESCENDING)])
        return None if document is None else amendment_of(document)

    async def at_quiz(self, quiz_id: str, size: int) -> AsyncIterator[list[Submission]]:
        """Yield all actions at a quiz, up to `size` at a time: those of a player together, in their order.

        Reads through the keys of all quizzes. What a player does meanwhile is or is not among it.
        """
        async with unavailable_on_failure():
            found = self._submissions.find({"quiz_id": quiz_id, "kind": None}, hint=_BY_PLAYER)
            found = found.sort([("user_id", DESCENDING), ("quiz_id", DESCENDING), ("attempt", ASCENDING)])
            async for page in pages(every_document(found, within=SCAN), size):
                yield [submission_of(document) for document in page]

    async def add_all(self, drafts: Sequence[Draft], publish_by: datetime) -> list[Exception | None]:
        """Record submissions with their events in one command; returns when a majority has them in the journal.

        Until `publish_by` only this instance publishes the events, then any. Returns for each None; TakenError if a unique
        index refused it or the data is no longer that of the draft, so that the tally must be read again; UNAVAILABLE if it
        is unknown whether it was written.
        """
        try:
            return await self._insert([(submission_document(draft, publish_by), draft.identity) for draft in drafts])
        except ServiceError as error:
            return [error] * len(drafts)

    async def amend_all(
        self, amendments: Sequence[Amendment], publish_by: datetime, identity: DataIdentity
    ) -> list[Exception | None]:
        """Record amendments of different players in one command. Returns for each what `amend` raises, or None.

        Raises UNAVAILABLE if it is unknown of all whether they were written.
        """
        return await self._insert([(amendment_document(each, publish_by), identity) for each in amendments])

    async def amend(self, amendment: Amendment, publish_by: datetime, identity: DataIdentity) -> None:
        """Record an amendment with its event. Raises TakenError; UNAVAILABLE if it is unknown whether it was written."""
        (failure,) = await self._insert([(amendment_document(amendment, publish_by), identity)])
        if failure is not None:
            raise failure

    async def restore(self, record: Submission | Amendment, identity: DataIdentity) -> None:
        """Record what a restore lost, as `amend` does. Its event is on the stream or counted, and not published again."""
        if isinstance(record, Submission):
            document = submission_document(Draft(record, b"", identity), record.received_at)
        else:
            document = amendment_document(record, record.received_at)
        del document["unpublished"]
        (failure,) = await self._insert([(document, identity)])
        if failure is not None:
            raise failure

    async def events(self, event_ids: Sequence[str]) -> dict[str, bytes]:
        """Return those of the events that are on record, without the client's address and program."""
        async with unavailable_on_failure():
            documents = self._submissions.find({"_id": {"$in": list(event_ids)}})
            return {document["_id"]: event_of(document) async for document in documents}

    async def again(self, event_ids: Collection[str], recorded_on: str) -> list[UnpublishedEvent]:
        """Return those of the events that are on record, to be published at once even within the duplicate window.

        One published before has no client's address and program any more.
        """
        async with unavailable_on_failure():
            documents = await self._submissions.find({"_id": {"$in": list(event_ids)}}).to_list()
        return [
            UnpublishedEvent(
                document["_id"],
                document["user_id"],
                bytes(document["unpublished"]["event"]) if "unpublished" in document else event_of(document),
                recorded_on,
                f"/{uuid4()}",
            )
            for document in documents
        ]

    async def recorded(self, event_ids: Sequence[str]) -> list[str]:
        """Return the ids that belong to a submission or an amendment."""
        async with unavailable_on_failure():
            documents = self._submissions.find({"_id": {"$in": list(event_ids)}}, {"_id": 1})
            return [document["_id"] async for document in documents]

    async def republish(self, event_ids: Sequence[str], now: datetime) -> None:
        """Make these events wait for publication again. One published before has no client's address and program any more."""
        await self.outbox.republish_unpublished(event_ids, now)
        writes: list[UpdateOne] = []
        async with unavailable_on_failure():
            async for document in self._submissions.find({"_id": {"$in": list(event_ids)}, "unpublished": None}):
                again = republished_field(event_of(document), now)
                writes.append(UpdateOne({"_id": document["_id"]}, {"$set": {"unpublished": again}}))
            if writes:
                await self._submissions.bulk_write(writes, ordered=False)

    async def submitted_events(self, since: datetime | None = None) -> AsyncIterator[list[SubmittedEvent]]:
        """Yield the event of every record, or of those made at or after `since`, oldest first, up to 500 at a time."""
        query: Document = {} if since is None else {"_id": {"$gte": first_uuid7(since)}}
        fields = {"user_id": 1, "delta": 1, "unpublished.leased_until": 1}
        async with unavailable_on_failure():
            found = self._submissions.find(query, fields).sort("_id", ASCENDING)  # UUIDv7: in order of time
            async for page in pages(every_document(found), AUDIT_PAGE):
                yield [
                    SubmittedEvent(
                        document["_id"], document["user_id"], document["delta"], "unpublished" not in document
                    )
                    for document in page
                ]

    async def count(self) -> int:
        """Return an estimate of the number of records."""
        async with unavailable_on_failure():
            return int(await self._submissions.estimated_document_count())

    async def _insert(self, records: Sequence[tuple[Document, DataIdentity]]) -> list[Exception | None]:
        """Write all in one command; return for each None, or why it was not written.

        Raises UNAVAILABLE if the outcome of all is unknown.
        """
        now = self._same_data.identity
        current = {document["_id"]: document for document, identity in records if identity == now}
        failures: dict[str, Exception] = {
            document["_id"]: TakenError() for document, identity in records if identity != now
        }
        async with unavailable_on_failure():
            try:
                failures |= await self._write(list(current.values()), now)
            except CollectionReplacedError:
                await self._same_data.identify()
                failures |= {event_id: TakenError() for event_id in current}
            if self._same_data.identity.primary != now.primary:
                written = [document for event_id, document in current.items() if event_id not in failures]
                failures |= {event_id: TakenError() for event_id in await self._remove_without_predecessor(written)}
        return [failures.get(document["_id"]) for document, _ in records]

    async def _write(self, documents: list[Document], identity: DataIdentity) -> dict[str, Exception]:
        """Insert documents, once more after a lost connection. Return why some were not written, by id."""
        if not documents:
            return {}
        try:
            reply = await self._insert_once(documents, identity)
        except AutoReconnect:
            reply = await self._insert_once(documents, identity)
        failures: Sequence[Mapping[str, Any]] = reply.get("writeErrors", ())
        # Ids are unique: a document with its id is itself, written before the connection was lost.
        return {
            documents[failure["index"]]["_id"]: TakenError() if failure["code"] == _DUPLICATE else _refused(failure)
            for failure in failures
            if failure["code"] != _DUPLICATE or "_id" not in failure["keyPattern"]
        }

    async def _insert_once(self, documents: list[Document], identity: DataIdentity) -> Mapping[str, Any]:
        return await self._same_data.write(
            "insert", self._submissions.name, identity, documents=documents, ordered=False
        )

    async def _remove_without_predecessor(self, documents: Sequence[Document]) -> set[str]:
        """Remove records, made just now, that continue one which the new primary does not have. Return their ids."""
        numbers = {(one["user_id"], one["quiz_id"], one["attempt"] - 1): one["_id"] for one in documents}
        expected = {number: event_id for number, event_id in numbers.items() if number[2]}
        if expected:
            # A new primary knows what is committed once it confirmed that it is the primary.
            confirmed = self._submissions.with_options(read_concern=ReadConcern("linearizable"))
            query = [dict(zip(("user_id", "quiz_id", "attempt"), number, strict=True)) for number in expected]
            async for found in confirmed.find({"$or": query}, {"user_id": 1, "quiz_id": 1, "attempt": 1}):
                expected.pop((found["user_id"], found["quiz_id"], found["attempt"]), None)
        lost = set(expected)
        for user_id, quiz_id, number in sorted(numbers):
            if (user_id, quiz_id, number - 1) in lost:  # its predecessor is one of these records
                lost.add((user_id, quiz_id, number))
        removed = {numbers[number] for number in lost}
        if removed:
            await self._submissions.delete_many({"_id": {"$in": list(removed)}})
        return removed


def _refused(failure: Mapping[str, Any]) -> ServiceError:
    _log.error("record refused", code=failure["code"], detail=str(failure.get("errmsg"))[:200])
    return ServiceError(Reason.UNAVAILABLE, "The action could not be recorded. Retry in 1 s.", retry_after=RETRY_AFTER)
