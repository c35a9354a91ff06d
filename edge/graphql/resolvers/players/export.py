"""The data stored about a player, for that player: the exports of four services, combined page by page."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

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


async def export(context: Context, after: str | None) -> DataExport:
    """Read the page after `after` in the player's own name. Raises what the services raise, and INVALID_ARGUMENT."""
    position = read_page_token(after or "", "export", *[str] * 6)
    is_first = position is None
    # The services' own tokens; after the first page an empty one means that the service has no more.
    submissions, history, closed, seats, quizzes, rooms = position or [""] * 6
    upstreams = context.upstreams
    data: dict[str, Any] = {}
    boards: Sequence[str] = ()
    if is_first:
        account = await context.call(upstreams.identity.ExportAccount, ExportAccountRequest())
        data["account"] = _json(account.user)
        data["externalId"] = _json(account.external_id) if account.HasField("external_id") else None
        data["sessions"] = _all_json(account.sessions)
        data["groups"] = _all_json(account.groups)
        data["accountChanges"] = _all_json(account.changes)
    if is_first or history:
        rows = await context.call(upstreams.score.ExportPlayer, score.ExportPlayerRequest(page_token=history))
        data["scoreHistory"] = _all_json(rows.changes)
        history, boards = rows.next_page_token, rows.boards
        if is_first:
            data["flags"] = _all_json(rows.flags)
            data["noticesSeenThrough"] = rows.notices_seen_through
    if is_first or submissions:
        records = await context.call(upstreams.quiz.ExportPlayer, quiz.ExportPlayerRequest(page_token=submissions))
        data["submissions"] = _all_json(records.records)
        submissions = records.next_page_token
        if is_first:
            data["deliveries"] = _all_json(records.deliveries)
            attempts = await context.call(upstreams.attempt.ExportAttempts, ExportAttemptsRequest())
            data["attempts"] = _all_json(attempts.attempts)
            data["extraTimes"] = _all_json(attempts.extra_times)
    if is_first or seats:
        seated = await context.call(upstreams.room.ExportSeats, ExportSeatsRequest(page_token=seats))
        data["seats"] = _all_json(seated.seats)
        seats = seated.next_page_token
    if is_first or rooms:
        played = await context.call(upstreams.room.ExportRooms, ExportRoomsRequest(page_token=rooms))
        data["rooms"] = _all_json(played.rooms)
        rooms = played.next_page_token
    if is_first or quizzes:
        written = await context.call(upstreams.authoring.ExportOwnQuizzes, ExportOwnQuizzesRequest(page_token=quizzes))
        data["authoredQuizzes"] = _all_json(written.quizzes)
        quizzes = written.next_page_token
    if is_first or closed:
        request = leaderboard.ExportPlayerRequest(boards=boards, page_token=closed)
        places = await context.call(upstreams.leaderboard.ExportPlayer, request)
        data["closedPeriods"] = _all_json(places.closed)
        closed = places.next_page_token
        if is_first:
            data["standings"] = _all_json(places.places)
    rest = (submissions, history, closed, seats, quizzes, rooms)
    return DataExport(data=JSON(data), next=page_token("export", *rest) if any(rest) else None)


def _all_json(messages: Iterable[Message]) -> list[dict[str, Any]]:
    return [_json(message) for message in messages]


def _json(message: Message) -> dict[str, Any]:
    """Convert a message to proto3 JSON, with empty fields."""
    return MessageToDict(message, always_print_fields_with_no_presence=True)
