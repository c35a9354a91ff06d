"""The members of groups, from identity."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Final

from topten.group.v1.group_service_pb2 import ListMembersRequest

from services.runtime.grpc.client import call

if TYPE_CHECKING:
    from topten.group.v1.group_service_pb2_grpc import GroupServiceAsyncStub

    from services.runtime.auth.service_token import ServiceToken

# The most members that a group has: one page.
MAX_MEMBERS: Final = 500
_CALL_SECONDS: Final = 2.0


class GroupMembers:
    """Lists the members of groups."""

    def __init__(self, groups: GroupServiceAsyncStub, token: ServiceToken) -> None:
        self._groups = groups
        self._token = token

    async def of(self, group_id: str, viewer_id: str = "") -> Sequence[str]:
        """Return the members' ids. `viewer_id` must be one of them, empty is allowed to see any group.

        Raises GROUP_NOT_FOUND, UNAVAILABLE.
        """
        request = ListMembersRequest(group_id=group_id, page_size=MAX_MEMBERS, viewer_id=viewer_id)
        token = await self._token.get()
        response = await call(self._groups.ListMembers, request, token=token, timeout=_CALL_SECONDS)
        return [member.user_id for member in response.members]
