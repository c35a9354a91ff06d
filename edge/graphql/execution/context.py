"""What one GraphQL request carries to its resolvers. Nothing in it outlives the response."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from functools import cached_property
from typing import TYPE_CHECKING, TypeAlias, TypeVar

import strawberry
from grpc.aio import UnaryUnaryMultiCallable
from strawberry.dataloader import DataLoader
from topten.identity.v1.identity_pb2 import User
from topten.identity.v1.identity_service_pb2 import GetUsersRequest
from topten.leaderboard.v1 import leaderboard_pb2
from topten.leaderboard.v1 import leaderboard_service_pb2 as leaderboard

from edge.boards import ExistingBoards
from edge.graphql.execution.last_responses import Key, LastResponses
from edge.graphql.execution.response_cache import BoardRead
from edge.http.callers.authentication import Caller, require_board
from edge.http.callers.cookies import CookieSession
from edge.rates.limiter import Left, Limiter
from edge.times import time_of
from edge.upstreams import Upstreams
from services.diagnosis.rates import Rates
from services.runtime.admission import Place
from services.runtime.grpc.client import call
from services.runtime.texts import canonical_id

if TYPE_CHECKING:
    from edge.stream.hub import Hub  # which shows what resolvers describe

MAX_USERS = 100
Request = TypeVar("Request")
Response = TypeVar("Response")
BoardMessage: TypeAlias = (
    leaderboard_pb2.Board
    | leaderboard_pb2.Frame
    | leaderboard.GetRanksResponse
    | leaderboard.GetPercentileResponse
    | leaderboard.GetScoreForPercentileResponse
    | leaderboard.GetRankIfScoreResponse
)
"""What is read from a board, which may be stale or frozen."""


@dataclass
class Context:
    """The request's caller, the services, and what the response says besides its data."""

    upstreams: Upstreams
    caller: Caller
    client_address: str
    user_agent: str
    limiter: Limiter
    hub: Hub
    boards: ExistingBoards
    last_responses: LastResponses
    on_accepted: Callable[[str, int], None]
    """Called with the player and the points of an action that was just accepted."""
    place: Place
    """The place of the request among those that run."""
    origin: str
    """The address under which the client knows this server: `https://play.example`."""
    runbooks: str = ""
    """Where operators read runbooks; empty if nobody has said."""
    system_rates: Rates = field(default_factory=Rates)
    """What the operator's screen has read of this edge before."""
    players_host_rooms: bool = False
    """Whether players without another role open rooms."""
    cookies: CookieSession | None = None
    """Set in cookie mode alone."""
    board_reads: list[BoardRead] = field(default_factory=list)
    """Frames held by this process that the response was made of."""
    left: Sequence[Left] = ()
    """What the caller has left of each rate the request counted for."""
    stale: bool = False
    """True once a board was read that may be behind."""
    frozen_since: datetime | None = None
    """The earliest freeze of a board that was read; None if none is frozen."""

    @cached_property
    def users(self) -> DataLoader[str, User | None]:
        """Users by id; None for an id without an account. Up to 100 ids are one call of GetUsers, each once."""
        return DataLoader(load_fn=self._load_users, max_batch_size=MAX_USERS)

    async def call(self, method: UnaryUnaryMultiCallable[Request, Response], request: Request) -> Response:
        """Call a service in the caller's name. Raises ServiceError, UNAUTHENTICATED for an anonymous caller."""
        return await call(method, request, token=self.caller.token())

    async def call_as_edge(self, method: UnaryUnaryMultiCallable[Request, Response], request: Request) -> Response:
        """Call a service with the edge's own token, for callers who are not signed in yet. Raises ServiceError."""
        return await call(method, request, token=await self.upstreams.service_token.get())

    async def board(self, name: str) -> str:
        """Return the name of a board that the caller may read.

        Raises PERMISSION_DENIED for a board token of another one, and BOARD_NOT_FOUND for a board that they may not read.
        """
        claims = self.caller.claims
        if claims is not None and claims.board:
            require_board(claims, (await self.boards.find(name, claims.session_id)).name)
        if claims is not None:
            await self.boards.require_readable(name, claims)
        return name

    async def call_leaderboard(self, method: UnaryUnaryMultiCallable[Request, Response], request: Request) -> Response:
        """Call the leaderboard service about a board that `board` has returned. Raises ServiceError.

        The call has the caller's token. Services accept no board tokens, so for the holder of one it has the edge's own.
        """
        return await (self.call_as_edge(method, request) if self.caller.board else self.call(method, request))

    async def call_or_last(self, key: Key, response: Awaitable[Response]) -> tuple[Response, bool]:
        """Return the response, or the last one and True while the service is away; then `stale` is set."""
        found, is_old = await self.last_responses.get(key, response)
        self.stale = self.stale or is_old
        return found, is_old

    def note_board(self, read: BoardMessage) -> None:
        """Note that a board was read which may be stale or frozen."""
        self.stale = self.stale or read.stale
        if read.HasField("frozen_since"):
            since = time_of(read.frozen_since)
            self.frozen_since = since if self.frozen_since is None else min(since, self.frozen_since)

    async def _load_users(self, user_ids: list[str]) -> list[User | None]:
        response = await self.call(self.upstreams.identity.GetUsers, GetUsersRequest(user_ids=user_ids))
        found = {user.user_id: user for user in response.users}
        return [found.get(canonical_id(user_id)) for user_id in user_ids]


Info = strawberry.Info[Context, None]
