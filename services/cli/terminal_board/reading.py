"""Reads a board over GraphQL as the first demo player: its entries, the player's place, and those around it."""

from __future__ import annotations

import re
from collections.abc import Sequence
from contextlib import AsyncExitStack
from datetime import datetime
from typing import Any, Final, Self

from services.cli.system.client import Endpoints, GraphqlClient, GraphqlError
from services.cli.system.locate import NotRunningError
from services.cli.terminal_board.standings import Entry, Standings, State

RADIUS: Final = 3
ME: Final = "{ me { userId country } boards { key kind title } }"
ENTRY: Final = "rank userId username score country metadata"
# Of up to 16 names with texts, which come in any order.
DETAILS: Final = 3
BOARD: Final = f"""query ($board: BoardInput) {{
  leaderboard(board: $board, first: 10) {{
    totalCount stale board {{ title endsAt nextResetAt frozenSince }} me {{ rank score gapToNext }}
    edges {{ node {{ {ENTRY} }} }}
  }}
  aroundPlayer(board: $board, radius: {RADIUS}) {{ entries {{ {ENTRY} }} }}
}}"""


class BoardReader:
    """Reads boards as the first demo player, whose session it renews. An async context manager."""

    def __init__(self, endpoints: Endpoints) -> None:
        self._endpoints = endpoints
        self._client = GraphqlClient(endpoints.graphql)
        self._stack = AsyncExitStack()
        self.token = ""
        self.user_id = ""
        self.boards: dict[str, str] = {}
        """The titles of the boards that Tab goes through, by name; empty for one that has none."""

    async def __aenter__(self) -> Self:
        """Sign in, and learn who the player is and which boards there are."""
        await self._stack.enter_async_context(self._client)
        try:
            await self.sign_in()
            data = await self.execute(ME, {})
        except BaseException:
            await self._stack.aclose()
            raise
        self.user_id = data["me"]["userId"]
        self.boards = _titles(data["boards"], data["me"]["country"])
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._stack.aclose()

    async def sign_in(self) -> None:
        """Open a new session. Raises GraphqlError, NotRunningError, aiohttp.ClientError."""
        name, password = self._endpoints.player()
        try:
            self.token = await self._client.login(name, password)
        except GraphqlError as error:
            if error.reason != "CREDENTIALS_INVALID":
                raise
            raise NotRunningError(
                f"The player {name} has another password since the data was replaced. Restart `make up`, which makes another."
            ) from error

    async def execute(self, document: str, variables: dict[str, Any]) -> Any:
        """Return the `data` of a response; a session that has ended is opened again. Raises like `sign_in`."""
        try:
            return await self._client.execute(document, variables, self.token)
        except GraphqlError as error:
            if error.reason != "UNAUTHENTICATED":
                raise
        await self.sign_in()
        return await self._client.execute(document, variables, self.token)

    async def read(self, standings: Standings, now: datetime) -> None:
        """Fill in what no frame has; entries and the own place only if there are none yet. Raises like `execute`."""
        data = await self.execute(BOARD, {"board": board_input(standings.board)})
        page, board = data["leaderboard"], data["leaderboard"]["board"]
        standings.title = board["title"] or ""
        ends_at = _time(board["endsAt"])
        standings.count = page["totalCount"]
        standings.reset_at = _time(board["nextResetAt"])
        standings.frozen_since = _time(board["frozenSince"])
        standings.neighbors = entries_of(data["aroundPlayer"]["entries"])
        own = page["me"] or {"rank": None, "score": 0, "gapToNext": None}
        standings.stand(own["rank"], own["score"], own["gapToNext"])
        if standings.state is State.CONNECTING:
            standings.show(entries_of([edge["node"] for edge in page["edges"]]), now)
        if ends_at and ends_at <= now:
            standings.state = State.FINAL
        elif standings.state is State.CONNECTING:
            standings.state = State.STALE if page["stale"] else State.LIVE


def board_input(name: str) -> dict[str, str]:
    """Return the GraphQL input of a board's name. What is wrong with the name is the server's to say."""
    kind, *rest = name.split(":")
    board = {"kind": kind.upper()}
    if kind == "quiz" and rest:
        return board | {"quizId": ":".join(rest)}
    if kind == "custom" and rest:
        board["name"] = rest.pop(0)
    for part in rest:
        board["country" if kind == "country" or re.fullmatch("[A-Za-z]{2}", part) else "period"] = part
    return board


def entries_of(rows: Sequence[dict[str, Any]]) -> list[Entry]:
    """Return the entries of a frame or a page."""
    return [
        Entry(row["rank"], row["userId"], row["username"], row["score"], row["country"] or "", _details(row))
        for row in rows
    ]


def _details(row: dict[str, Any]) -> str:
    """The first texts of the metadata, each behind its name; a frame has none, or leaves them out."""
    pairs = sorted((row.get("metadata") or {}).items())[:DETAILS]
    return " · ".join(f"{name}: {text}" for name, text in pairs)


def _titles(boards: Sequence[dict[str, str]], country: str | None) -> dict[str, str]:
    """Return the boards that Tab goes through: the usual ones, the player's country, and those that teams define."""
    usual = ["all", "weekly", "monthly", *([f"country:{country}"] if country else [])]
    custom = {":".join(each["key"].split(":")[:2]): each["title"] or "" for each in boards if each["kind"] == "CUSTOM"}
    return dict.fromkeys(usual, "") | custom


def _time(text: str | None) -> datetime | None:
    return datetime.fromisoformat(text) if text else None
