"""Batching: what many fields of one request ask for, asked once."""

from __future__ import annotations

from strawberry.dataloader import DataLoader
from topten.identity.v1.identity_pb2 import User
from topten.identity.v1.identity_service_pb2 import GetUsersRequest

from edge.auth import Caller
from edge.upstreams import Upstreams
from services.runtime.grpc_client import call

MAX_USERS = 100


def users_loader(upstreams: Upstreams, caller: Caller) -> DataLoader[str, User | None]:
    """Users by id; None for who has no account (any more). Up to 100 ids, each once, are one GetUsers call."""

    async def load(user_ids: list[str]) -> list[User | None]:
        request = GetUsersRequest(user_ids=user_ids)
        answer = await call(upstreams.identity.GetUsers, request, token=caller.token())
        found = {user.user_id: user for user in answer.users}
        return [found.get(user_id) for user_id in user_ids]

    return DataLoader(load_fn=load, max_batch_size=MAX_USERS)
