"""A running system with players of one region, asked over GraphQL."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from services.cli.system.client import GraphqlClient
from tests.deadline import eventually
from tests.players import Player
from tests.servers import RunningStack
from tests.system.moderation.test_moderation import Moderator

ENTRY = "userId username score rank country previousRank gapToNext"
BOARD = "board { key kind period startsAt endsAt timeZone nextResetAt totalCount }"
PAGE = f"""query ($board: BoardInput, $first: Int!, $after: String) {{
  leaderboard(board: $board, first: $first, after: $after) {{
  {BOARD} totalCount stale me {{ {ENTRY} }} edges {{ cursor node {{ {ENTRY} }} }}
  pageInfo {{ hasNextPage hasPreviousPage startCursor endCursor }} }} }}"""


class Region:
    """A running system with six players of one region."""

    def __init__(
        self, stack: RunningStack, client: GraphqlClient, moderator: Moderator, players: Sequence[Player]
    ) -> None:
        self.stack = stack
        self.client = client
        self.moderator = moderator
        self.players = players

    async def ask(self, document: str, by: Player | None = None, **variables: Any) -> dict[str, Any]:
        data: dict[str, Any] = await self.client.execute(document, variables, (by or self.players[0]).access_token)
        return data

    async def page(self, board: dict[str, Any], first: int = 100, after: str | None = None) -> dict[str, Any]:
        page: dict[str, Any] = (await self.ask(PAGE, board=board, first=first, after=after))["leaderboard"]
        return page

    async def shows(self, board: dict[str, Any], names: Sequence[str]) -> dict[str, Any]:
        """Wait until the page has these players in this order, and return it."""

        async def matching() -> dict[str, Any] | None:
            page = await self.page(board)
            return page if [edge["node"]["username"] for edge in page["edges"]] == list(names) else None

        page = await eventually(matching, "the page shows these players")
        assert page is not None
        return page
