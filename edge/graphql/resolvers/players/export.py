"""The data stored about a player, for that player: the exports of four services, combined page by page."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

import strawberry
from google.protobuf.json_format import MessageToDict
from google.protobuf.message import Message
from strawberry.scalars import JSON
from topten.attempt.v1.attempt_service_pb2 import ExportAttemptsRequest
from topten.authoring.v1.authoring_service_pb2 import ExportOwnQuizzesRequest
from topten.identity.v1.identity_service_pb2 import ExportAccountRequest
from topten.leaderboard.v1 import leaderboard_service_pb2 as leaderboard
from topten.quiz.v1 import quiz_service_pb2 as quiz
from topten.room.v1.room_service_pb2 import ExportRoomsRequest, ExportSeatsRequest
from topten.score.v1 import score_service_pb2 as score

from edge.graphql.execution.context import Context
from services.runtime.page_tokens import page_token, read_page_token


@strawberry.type(description="A page of the data stored about a player.")
class DataExport:
    data: JSON = strawberry.field(
        description="On the first page `account`, `externalId`, `sessions`, `groups`, `accountChanges`, `standings`, `flags`, "
        "`noticesSeenThrough`, `deliveries`, `attempts` and `extraTimes`; on each page, as long as there is more, "
        "`submissions`, `seats`, `rooms`, `authoredQuizzes`, `scoreHistory` and `closedPeriods`."
    )
    next: str | None = strawberry.field(description="Pass it as `after` to get the next page; null on the last page.")


@dataclass
class _Page:
    """A page while it is read. `boards` are those on which the score changes of the page count."""

    context: Context
    is_first: bool
    data: dict[str, Any] = field(default_factory=dict)
    boards: Sequence[str] = ()


async def export(context: Context, after: str | None) -> DataExport:
    """Read the page after `after` in the player's own name. Raises what the services raise, and INVALID_ARGUMENT."""
    position = read_page_token(after or "", "export", *[str] * len(_READERS))
    page = _Page(context, is_first=position is None)
    if page.is_first:
        await _read_account(page)
    # The services' own tokens; after the first page an empty one means that the service has no more.
    tokens = position or [""] * len(_READERS)
    rest = [
        await read(page, token) if page.is_first or token else "" for read, token in zip(_READERS, tokens, strict=True)
    ]
    return DataExport(data=JSON(page.data), next=page_token("export", *rest) if any(rest) else None)


async def _read_account(page: _Page) -> None:
    account = await page.context.call(page.context.upstreams.identity.ExportAccount, ExportAccountRequest())
    page.data["account"] = _json(account.user)
    page.data["externalId"] = _json(account.external_id) if account.HasField("external_id") else None
    page.data["sessions"] = _all_json(account.sessions)
    page.data["groups"] = _all_json(account.groups)
    page.data["accountChanges"] = _all_json(account.changes)


async def _read_submissions(page: _Page, token: str) -> str:
    upstreams = page.context.upstreams
    records = await page.context.call(upstreams.quiz.ExportPlayer, quiz.ExportPlayerRequest(page_token=token))
    page.data["submissions"] = _all_json(records.records)
    if page.is_first:
        page.data["deliveries"] = _all_json(records.deliveries)
        attempts = await page.context.call(upstreams.attempt.ExportAttempts, ExportAttemptsRequest())
        page.data["attempts"] = _all_json(attempts.attempts)
        page.data["extraTimes"] = _all_json(attempts.extra_times)
    return records.next_page_token


async def _read_score_history(page: _Page, token: str) -> str:
    request = score.ExportPlayerRequest(page_token=token)
    rows = await page.context.call(page.context.upstreams.score.ExportPlayer, request)
    page.data["scoreHistory"] = _all_json(rows.changes)
    page.boards = rows.boards
    if page.is_first:
        page.data["flags"] = _all_json(rows.flags)
        page.data["noticesSeenThrough"] = rows.notices_seen_through
    return rows.next_page_token


async def _read_closed_periods(page: _Page, token: str) -> str:
    request = leaderboard.ExportPlayerRequest(boards=page.boards, page_token=token)
    places = await page.context.call(page.context.upstreams.leaderboard.ExportPlayer, request)
    page.data["closedPeriods"] = _all_json(places.closed)
    if page.is_first:
        page.data["standings"] = _all_json(places.places)
    return places.next_page_token


async def _read_seats(page: _Page, token: str) -> str:
    seated = await page.context.call(page.context.upstreams.room.ExportSeats, ExportSeatsRequest(page_token=token))
    page.data["seats"] = _all_json(seated.seats)
    return seated.next_page_token


async def _read_quizzes(page: _Page, token: str) -> str:
    request = ExportOwnQuizzesRequest(page_token=token)
    written = await page.context.call(page.context.upstreams.authoring.ExportOwnQuizzes, request)
    page.data["authoredQuizzes"] = _all_json(written.quizzes)
    return written.next_page_token


async def _read_rooms(page: _Page, token: str) -> str:
    hosted = await page.context.call(page.context.upstreams.room.ExportRooms, ExportRoomsRequest(page_token=token))
    page.data["rooms"] = _all_json(hosted.rooms)
    return hosted.next_page_token


_READERS: Final[Sequence[Callable[[_Page, str], Awaitable[str]]]] = (
    _read_submissions,
    _read_score_history,
    _read_closed_periods,  # after the score history, which names the boards
    _read_seats,
    _read_quizzes,
    _read_rooms,
)
"""Each adds what a service has from a page token on, and returns the next token. `next` has the tokens in this order."""


def _all_json(messages: Iterable[Message]) -> list[dict[str, Any]]:
    return [_json(message) for message in messages]


def _json(message: Message) -> dict[str, Any]:
    """Convert a message to proto3 JSON, with empty fields."""
    return MessageToDict(message, always_print_fields_with_no_presence=True)
