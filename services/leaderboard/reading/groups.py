"""Boards of groups: members, listed by identity, ranked among themselves by their places on a board of all players.

Nothing is stored. The result is exact for the members and the board at the moment of the read (see ADR 25).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Final

from topten.group.v1.group_service_pb2 import ListMembersRequest

from services.leaderboard.ranking import Ranked, order, ranked, shared_ranks
from services.runtime.grpc.client import call

if TYPE_CHECKING:
    from topten.group.v1.group_service_pb2_grpc import GroupServiceAsyncStub

    from services.boards.definition import Ranks
    from services.leaderboard.reading.results import Standing
    from services.runtime.auth.service_token import ServiceToken

# The most members that a group has: one page.
MAX_MEMBERS: Final = 500
_CALL_SECONDS: Final = 2.0


class GroupMembers:
    """The members of groups, from identity."""

    def __init__(self, groups: GroupServiceAsyncStub, token: ServiceToken) -> None:
        self._groups = groups
        self._token = token

    async def of(self, group_id: str, viewer_id: str) -> Sequence[str]:
        """Return the members' ids. `viewer_id` must be one of them, empty is allowed to see any group.

        Raises GROUP_NOT_FOUND, UNAVAILABLE.
        """
        request = ListMembersRequest(group_id=group_id, page_size=MAX_MEMBERS, viewer_id=viewer_id)
        token = await self._token.get()
        response = await call(self._groups.ListMembers, request, token=token, timeout=_CALL_SECONDS)
        return [member.user_id for member in response.members]


def ranked_members(
    standings: Mapping[str, Standing], *, ascending: bool = False, ranks: Ranks = "unique"
) -> list[Ranked]:
    """Return the members who are ranked on a board, in its order, with their ranks among themselves."""
    members = order((user_id, standing.value) for user_id, standing in standings.items())
    shared = None if ranks == "unique" else shared_ranks([value for _, value in members], ranks)
    return ranked(members, ascending=ascending, shared_ranks=shared)
