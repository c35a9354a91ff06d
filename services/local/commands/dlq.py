"""`topten dlq …`: the events that could not be counted. Nothing that was accepted is lost; here it can be found."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, cast

import typer
from google.protobuf.json_format import MessageToDict
from google.protobuf.message import DecodeError, Message
from rich.table import Table
from topten.identity.v1 import identity_events_pb2
from topten.quiz.v1 import quiz_events_pb2
from topten.score.v1 import score_pb2
from topten.score.v1 import score_service_pb2 as messages
from topten.score.v1.score_service_pb2_grpc import ScoreServiceStub

from services.local.client import Endpoints
from services.local.terminal import DATA, FOUND, Data, fail, out, run
from services.runtime.grpc_client import call

if TYPE_CHECKING:
    from topten.score.v1.score_service_pb2_grpc import ScoreServiceAsyncStub

PAGE = 100
EVENTS: Mapping[str, type[Message]] = {
    "QUIZ_COMPLETED": quiz_events_pb2.QuizCompletedEvent,
    "ACTION_VOIDED": quiz_events_pb2.ActionVoidedEvent,
    "SCORE_ADJUSTED": quiz_events_pb2.ScoreAdjustedEvent,
    "PLAYER_BLOCKED": identity_events_pb2.PlayerChangedEvent,
    "PLAYER_UNBLOCKED": identity_events_pb2.PlayerChangedEvent,
    "COUNTRY_CHANGED": identity_events_pb2.PlayerChangedEvent,
}
STATES = {
    score_pb2.DEAD_LETTER_STATE_DEAD: "dead",
    score_pb2.DEAD_LETTER_STATE_REPLAYED: "replayed",
}


def list_letters(
    everything: Annotated[bool, typer.Option("--all", help="Also those that were replayed.")] = False,
    data: Data = DATA,
) -> None:
    """List the events that wait for somebody to look at them; exit code 1 if there are any."""
    letters = run(_letters(data, everything=everything))
    table = Table(box=None, pad_edge=False)
    for heading in ("letter", "state", "since", "reason"):
        table.add_column(heading, overflow="fold")
    for letter in letters:
        since = letter.timestamp.ToJsonString()
        table.add_row(letter.letter_id, STATES[letter.state], since, letter.reason)
    if letters:
        out.print(table)
    if any(letter.state == score_pb2.DEAD_LETTER_STATE_DEAD for letter in letters):
        raise typer.Exit(FOUND)


def show(letter_id: Annotated[str, typer.Argument(help="As `topten dlq list` names it.")], data: Data = DATA) -> None:
    """Show one of them as JSON, with the event in it as far as it can be read."""

    async def work() -> score_pb2.DeadLetter | None:
        async with _score(data) as (stub, token):
            answer = await call(stub.GetDeadLetter, messages.GetDeadLetterRequest(letter_id=letter_id), token=token)
        return answer.letter if answer.HasField("letter") else None

    letter = run(work())
    if letter is None:
        fail(f"there is no letter {letter_id}", FOUND)
    shown = MessageToDict(letter) | {"state": STATES[letter.state]}
    shown["event"] = _event(letter.payload)
    print(json.dumps(shown, indent=2, ensure_ascii=True))


def replay(
    letter_ids: Annotated[list[str] | None, typer.Argument(help="Which; all that wait if none is named.")] = None,
    data: Data = DATA,
) -> None:
    """Count events that were set aside, each at most once; exit code 1 if some still can't be."""

    async def work() -> list[messages.ReplayOutcome]:
        ids = letter_ids or [letter.letter_id for letter in await waiting_letters(data)]
        outcomes: list[messages.ReplayOutcome] = []
        async with _score(data) as (stub, token):
            for start in range(0, len(ids), PAGE):
                request = messages.ReplayDeadLettersRequest(letter_ids=ids[start : start + PAGE])
                answer = await call(stub.ReplayDeadLetters, request, token=token, timeout=60)
                outcomes += answer.outcomes
        return outcomes

    outcomes = run(work())
    for outcome in outcomes:
        word = "counted" if outcome.counted else f"still dead: {outcome.reason}"
        out.print(f"{outcome.letter_id}: {word}", markup=False, soft_wrap=True)
    if not all(outcome.counted for outcome in outcomes):
        raise typer.Exit(FOUND)


def _event(payload: bytes) -> dict[str, object] | None:
    """The event as JSON; None if it is none that is known here."""
    try:
        known = EVENTS.get(quiz_events_pb2.EventHeader.FromString(payload).event_type)
        return None if known is None else MessageToDict(known.FromString(payload))
    except DecodeError:
        return None


@asynccontextmanager
async def _score(data: Path) -> AsyncIterator[tuple[ScoreServiceAsyncStub, str]]:
    endpoints = Endpoints.load(data)
    async with endpoints.operator() as token, endpoints.channel("score") as channel:
        yield cast("ScoreServiceAsyncStub", ScoreServiceStub(channel)), token


async def waiting_letters(data: Path) -> list[score_pb2.DeadLetter]:
    """Those that nobody has replayed. Raises what the command's other calls raise."""
    return await _letters(data, everything=False)


async def _letters(data: Path, *, everything: bool) -> list[score_pb2.DeadLetter]:
    state = score_pb2.DEAD_LETTER_STATE_UNSPECIFIED if everything else score_pb2.DEAD_LETTER_STATE_DEAD
    found: list[score_pb2.DeadLetter] = []
    page = ""
    async with _score(data) as (stub, token):
        while True:
            request = messages.ListDeadLettersRequest(page_size=PAGE, page_token=page, state=state)
            answer = await call(stub.ListDeadLetters, request, token=token)
            found += answer.letters
            page = answer.next_page_token
            if not page:
                return found
