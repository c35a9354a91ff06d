"""Everything that the system holds on a player, for himself: put together of what each service keeps, a page at a time."""

from __future__ import annotations

import base64
import binascii
from collections.abc import Sequence
from typing import Any, NamedTuple, Self

import orjson
import strawberry
from google.protobuf.json_format import MessageToDict
from google.protobuf.message import Message
from strawberry.scalars import JSON
from topten.identity.v1.identity_service_pb2 import ExportAccountRequest
from topten.leaderboard.v1 import leaderboard_service_pb2 as leaderboard
from topten.quiz.v1 import quiz_service_pb2 as quiz
from topten.score.v1 import score_service_pb2 as score

from edge.upstreams import Upstreams
from services.runtime.errors import Reason, ServiceError
from services.runtime.grpc_client import call

_MAX_CURSOR = 1000


@strawberry.type(description="A page of what is held on a player.")
class DataExport:
    data: JSON = strawberry.field(
        description="On the first page `account`, `sessions`, `accountChanges`, `standings`, `flags` and `deliveries`; on "
        "all as far as there is more `submissions`, `scoreHistory` and `closedPeriods`."
    )
    next: str | None = strawberry.field(description="Pass it as `after` for the next page; null on the last.")


class _Cursor(NamedTuple):
    """How far each service's part is; None where it is through."""

    submissions: str | None
    history: str | None
    closed: str | None

    @classmethod
    def parse(cls, text: str | None) -> Self | None:
        """Raises INVALID_ARGUMENT."""
        if text is None:
            return None
        try:
            if len(text) > _MAX_CURSOR:
                raise ValueError
            parts = orjson.loads(base64.b64decode(text.encode(), altchars=b"-_", validate=True))
            if not isinstance(parts, list) or not all(part is None or isinstance(part, str) for part in parts):
                raise ValueError
            return cls(*parts)
        except (ValueError, TypeError, binascii.Error):
            violation = ("after", "is not a cursor of an export")
            raise ServiceError(Reason.INVALID_ARGUMENT, "The cursor is not valid.", violations=[violation]) from None

    @property
    def text(self) -> str | None:
        """None if nothing follows."""
        return base64.urlsafe_b64encode(orjson.dumps(list(self))).decode() if any(self) else None


async def export(upstreams: Upstreams, token: str, after: str | None) -> DataExport:
    """The page behind `after`, read with the player's own token. Raises what the services raise, INVALID_ARGUMENT."""
    cursor = _Cursor.parse(after)
    data: dict[str, Any] = {}
    boards: Sequence[str] = ()
    submissions, history, closed = cursor or ("", "", "")
    if cursor is None:
        account = await call(upstreams.identity.ExportAccount, ExportAccountRequest(), token=token)
        data["account"] = _json(account.user)
        data["sessions"] = list(map(_json, account.sessions))
        data["accountChanges"] = list(map(_json, account.changes))
    if history is not None:
        rows = await call(upstreams.score.ExportPlayer, score.ExportPlayerRequest(page_token=history), token=token)
        data["scoreHistory"] = list(map(_json, rows.changes))
        history, boards = rows.next_page_token or None, rows.boards
        if cursor is None:
            data["flags"] = list(map(_json, rows.flags))
    if submissions is not None:
        told = await call(upstreams.quiz.ExportPlayer, quiz.ExportPlayerRequest(page_token=submissions), token=token)
        data["submissions"] = list(map(_json, told.records))
        submissions = told.next_page_token or None
        if cursor is None:
            data["deliveries"] = list(map(_json, told.deliveries))
    if closed is not None:
        asked = leaderboard.ExportPlayerRequest(boards=boards, page_token=closed)
        places = await call(upstreams.leaderboard.ExportPlayer, asked, token=token)
        data["closedPeriods"] = list(map(_json, places.closed))
        closed = places.next_page_token or None
        if cursor is None:
            data["standings"] = list(map(_json, places.places))
    return DataExport(data=JSON(data), next=_Cursor(submissions, history, closed).text)


def _json(message: Message) -> dict[str, Any]:
    """As proto3 JSON has it, what is empty included."""
    return MessageToDict(message, always_print_fields_with_no_presence=True)
