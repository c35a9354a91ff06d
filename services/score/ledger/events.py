"""What the ledger counts: one event, and where its action came from. Pure."""

from __future__ import annotations

from typing import NamedTuple

import orjson

from services.streams import QUIZ_COMPLETED


class Change(NamedTuple):
    """The part of an event that actions at quizzes do not have; a field that does not apply is empty.

    `version` numbers the changes of one account from 1, and `blocked` is the account's state after that version. `voids`
    is the id of the event that is taken back. `action_type_id` is the type of an action, or of a voided one, that is not at
    a quiz, and `metadata` a JSON object of what its client submitted with it. `digest` is the salted digest of `actor`,
    `reason` and `metadata`; those three are personal and are removed when the player is erased. `shows_metadata` is whether
    boards show the metadata.
    """

    actor: str
    reason: str
    version: int = 0
    blocked: bool = False
    voids: str = ""
    digest: bytes = b""
    action_type_id: str = ""
    metadata: str = ""
    shows_metadata: bool = False


def metadata_of(text: str) -> dict[str, str]:
    """Return the names and texts in the metadata of a change."""
    return dict(orjson.loads(text)) if text else {}


class Event(NamedTuple):
    """One event of the stream. `at` is the time it counts for: a void has the time of the action it takes back.

    `client` is the salted digest of address and user agent. `elapsed` is how long the player had the quiz, in
    milliseconds, or -1 if unknown. `data` is the message, and `recorded_on` the incarnation of MongoDB's data on which it was
    recorded, empty if that is the current one in any case. `tags` are those under which it counts, in order.
    """

    event_id: str
    user_id: str
    quiz_id: str
    delta: int
    at: int
    action_id: str
    attempt: int
    quiz_total: int
    country: str = ""
    client: bytes = b""
    sequence: int = 0
    partition: int = 0
    ip: str = ""
    user_agent: str = ""
    kind: str = QUIZ_COMPLETED
    change: Change | None = None
    questions: int = 0
    elapsed: int = -1
    data: bytes = b""
    recorded_on: str = ""
    tags: tuple[str, ...] = ()


class Origin(NamedTuple):
    """Where an action came from. Personal data: stored beside the ledger, for a limited time."""

    ip: str
    user_agent: str
