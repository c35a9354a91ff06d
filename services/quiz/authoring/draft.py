"""Drafts: their authors, their document, and the state of their quiz. Pure."""

from __future__ import annotations

import json
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import Any, Final, NamedTuple

from topten.quiz.v1 import quiz_pb2

from services.quiz.formats.contract import file_path
from services.quiz.formats.source import FormatError, Object, Source
from services.quiz.formats.topten import topten_json
from services.quiz.formats.topten.json_lines import line_of, lines_of
from services.quiz.quizzes.quiz import from_definition, media_faults
from services.runtime.auth.access import ADMIN, SERVICE
from services.runtime.auth.claims import Claims
from services.runtime.errors import Reason, ServiceError

MAX_FAULTS: Final = 200
# Services may do with every quiz what admins may.
_SERVICES: Final = frozenset({"quiz:write", "quiz:export", "quiz:rejudge"})


class State(StrEnum):
    """The state of a quiz; the names are those of the contract."""

    DRAFT = "DRAFT"
    SCHEDULED = "SCHEDULED"
    OPEN = "OPEN"
    CLOSED = "CLOSED"
    ARCHIVED = "ARCHIVED"


class Fault(NamedTuple):
    """A fault at a place of a document or file. `line` is 0 if it is not known."""

    place: str
    line: int
    message: str


def draft_refused(faults: Sequence[Fault]) -> ServiceError:
    """Return the error for a draft with faults: a violation for each, with its line where it is known."""
    violations = [
        (fault.place, f"{fault.message} (line {fault.line})" if fault.line else fault.message) for fault in faults
    ]
    return ServiceError(Reason.INVALID_ARGUMENT, "The draft has faults.", violations=violations)


@dataclass(frozen=True, slots=True)
class Draft:
    """The authors and the unpublished changes of a quiz. Without changes `document` is None and the title unused."""

    quiz_id: str
    owner: str = ""
    editors: tuple[str, ...] = ()
    revision: int = 0
    document: str | None = None
    title: str = ""
    questions: int = 0
    archived: bool = False
    """For a quiz that was never published; a published one is archived in its own document."""
    changed_at: datetime | None = None

    def is_owned_by(self, claims: Claims) -> bool:
        """Whether a caller may do everything with the quiz."""
        return is_operator(claims) or (claims.user_id == self.owner and bool(self.owner))

    def is_edited_by(self, claims: Claims) -> bool:
        """Whether a caller may edit and publish the quiz."""
        return self.is_owned_by(claims) or claims.user_id in self.editors


class Checked(NamedTuple):
    """A document as far as it can be read, and every fault that prevents its publishing."""

    definition: quiz_pb2.QuizDefinition
    faults: list[Fault]


def is_operator(claims: Claims) -> bool:
    """Whether a caller may do everything with every quiz: an admin, or a service with a scope of quizzes."""
    return claims.may(ADMIN | _SERVICES)


def owner_of(claims: Claims) -> str:
    """Return the owner of the quizzes that a caller creates; empty for a service, whose quizzes belong to the operators."""
    return "" if SERVICE in claims.roles else claims.user_id


def state_of(draft: Draft, published: quiz_pb2.QuizDefinition | None, at: datetime, *, archived: bool) -> State:
    """Return the state of a quiz at a time. `archived` is that of the published quiz."""
    if published is None:
        return State.ARCHIVED if draft.archived else State.DRAFT
    if archived:
        return State.ARCHIVED
    quiz = from_definition(published, 1)
    if quiz.closes_at is not None and at >= quiz.closes_at:
        return State.CLOSED
    return State.OPEN if quiz.is_open(at) else State.SCHEDULED


def check(document: str, quiz_id: str, media_hosts: Collection[str]) -> Checked:
    """Check a document by the rules of an import. Raises FormatError if it is no JSON object."""
    source = Source(document.encode())
    if not isinstance(source.document, Object):
        raise FormatError("$: must be an object")
    (report,) = topten_json.read(source)
    faults = [*report.faults]
    if report.definition.quiz_id != quiz_id:
        faults.append(f"id: must be {quiz_id}")
    faults += [f"{file_path(field)}: {text}" for field, text in media_faults(report.definition, media_hosts)]
    return Checked(report.definition, located(faults, lines_of(document)))


def located(faults: Collection[str], lines: Mapping[str, int]) -> list[Fault]:
    """Return faults of one line each, `<place>: <message>`, with the lines of their places; at most 200."""
    found = []
    for fault in [*faults][:MAX_FAULTS]:
        place, _, message = fault.partition(": ")
        found.append(Fault(place, line_of(place, lines), message))
    return found


def document_of(definition: quiz_pb2.QuizDefinition) -> str:
    """Return a definition as a document."""
    return topten_json.write(definition).decode()


def with_times(document: str, opens_at: str, closes_at: str) -> str:
    """Return a document with other times in RFC 3339, or without those that are empty."""
    return _changed(document, {"opensAt": opens_at, "closesAt": closes_at})


def copied(document: str, quiz_id: str) -> str:
    """Return a document with another id, and without a schedule."""
    return _changed(document, {"id": quiz_id, "opensAt": "", "closesAt": ""})


def _changed(document: str, changes: Mapping[str, str]) -> str:
    fields: dict[str, Any] = json.loads(document) | changes
    kept = {key: value for key, value in fields.items() if key not in changes or value}
    return json.dumps(kept, ensure_ascii=False, indent=2) + "\n"
