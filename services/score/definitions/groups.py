"""Groups of players, which identity keeps: whether one exists."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from topten.group.v1.group_service_pb2 import GetGroupRequest

from services.runtime.errors import Reason, ServiceError
from services.runtime.grpc.client import call

if TYPE_CHECKING:
    from topten.group.v1.group_service_pb2_grpc import GroupServiceAsyncStub

    from services.runtime.auth.service_token import ServiceToken

_CALL_SECONDS: Final = 2.0


class Groups:
    """The groups of identity."""

    def __init__(self, groups: GroupServiceAsyncStub, token: ServiceToken) -> None:
        self._groups = groups
        self._token = token

    async def has(self, group_id: str) -> bool:
        """Whether there is a group with this id. Raises UNAVAILABLE."""
        token = await self._token.get()
        try:
            await call(self._groups.GetGroup, GetGroupRequest(group_id=group_id), token=token, timeout=_CALL_SECONDS)
        except ServiceError as error:
            if error.reason is Reason.GROUP_NOT_FOUND:
                return False
            raise
        return True
