"""Dead letters: events that the score service could not count, kept for inspection and replay."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final

from google.protobuf.json_format import MessageToDict
from google.protobuf.message import DecodeError, Message
from topten.action.v1 import action_events_pb2
from topten.identity.v1 import identity_events_pb2
from topten.quiz.v1 import quiz_events_pb2
from topten.score.v1 import score_pb2
from topten.score.v1 import score_service_pb2 as messages

from services.cli.system.client import Endpoints
from services.cli.system.operator_client import score_service
from services.runtime.grpc.client import call

PAGE_SIZE: Final = 100
REPLAY_SECONDS: Final = 60
EVENTS: Final[Mapping[str, type[Message]]] = {
    "QUIZ_COMPLETED": quiz_events_pb2.QuizCompletedEvent,
    "ACTION_COMPLETED": action_events_pb2.ActionCompletedEvent,
    "ACTION_VOIDED": quiz_events_pb2.ActionVoidedEvent,
    "ACTION_REJUDGED": quiz_events_pb2.ActionRejudgedEvent,
    "SCORE_ADJUSTED": quiz_events_pb2.ScoreAdjustedEvent,
    "PLAYER_BLOCKED": identity_events_pb2.PlayerChangedEvent,
    "PLAYER_UNBLOCKED": identity_events_pb2.PlayerChangedEvent,
    "COUNTRY_CHANGED": identity_events_pb2.PlayerChangedEvent,
    "PROFILE_CHANGED": identity_events_pb2.PlayerChangedEvent,
}
STATES: Final = {
    score_pb2.DEAD_LETTER_STATE_DEAD: "dead",
    score_pb2.DEAD_LETTER_STATE_REPLAYED: "replayed",
}


async def list_dead_letters(endpoints: Endpoints, *, include_replayed: bool = False) -> list[score_pb2.DeadLetter]:
    """List the dead letters that were not replayed, or all of them."""
    state = score_pb2.DEAD_LETTER_STATE_UNSPECIFIED if include_replayed else score_pb2.DEAD_LETTER_STATE_DEAD
    letters: list[score_pb2.DeadLetter] = []
    page_token = ""
    async with score_service(endpoints) as (stub, token):
        while True:
            request = messages.ListDeadLettersRequest(page_size=PAGE_SIZE, page_token=page_token, state=state)
            response = await call(stub.ListDeadLetters, request, token=token)
            letters += response.letters
            page_token = response.next_page_token
            if not page_token:
                return letters


async def get_dead_letter(endpoints: Endpoints, letter_id: str) -> dict[str, Any] | None:
    """Return a dead letter as JSON, with its event decoded as far as possible; None if it does not exist."""
    async with score_service(endpoints) as (stub, token):
        response = await call(stub.GetDeadLetter, messages.GetDeadLetterRequest(letter_id=letter_id), token=token)
    if not response.HasField("letter"):
        return None
    letter = response.letter
    return MessageToDict(letter) | {"state": STATES[letter.state], "event": _decode(letter.payload)}


async def replay_dead_letters(endpoints: Endpoints, letter_ids: Sequence[str]) -> list[messages.ReplayOutcome]:
    """Count the events of dead letters, each at most once; all that were not replayed if none is named."""
    ids = letter_ids or [letter.letter_id for letter in await list_dead_letters(endpoints)]
    outcomes: list[messages.ReplayOutcome] = []
    async with score_service(endpoints) as (stub, token):
        for start in range(0, len(ids), PAGE_SIZE):
            request = messages.ReplayDeadLettersRequest(letter_ids=ids[start : start + PAGE_SIZE])
            response = await call(stub.ReplayDeadLetters, request, token=token, timeout=REPLAY_SECONDS)
            outcomes += response.outcomes
    return outcomes


def _decode(payload: bytes) -> dict[str, Any] | None:
    """Decode an event to JSON; None if this version does not know its kind."""
    try:
        event_type = EVENTS.get(quiz_events_pb2.EventHeader.FromString(payload).event_type)
        return None if event_type is None else MessageToDict(event_type.FromString(payload))
    except DecodeError:
        return None
