"""What one GraphQL request carries to its resolvers. Made anew for each; nothing in it outlives the answer."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

import strawberry
from strawberry.dataloader import DataLoader
from topten.identity.v1.identity_pb2 import User

from edge.auth import Caller
from edge.graphql.answers import Held, Read
from edge.graphql.last_answers import LastAnswers
from edge.rates.limiter import Limiter
from edge.session import CookieSession
from edge.upstreams import Upstreams


@dataclass
class Context:
    """The request's caller, the services, and what the answer shall say beside its data."""

    upstreams: Upstreams
    caller: Caller
    users: DataLoader[str, User | None]
    client_address: str
    user_agent: str
    limiter: Limiter
    held: Held
    """The frame of a board, as text, that this process holds with so many places; None if it does not."""
    last: LastAnswers
    """What the leaderboard service answered last."""
    reads: list[Read] = field(default_factory=list)
    """What was read of frames that this process holds."""
    cookies: CookieSession | None = None
    """Set in cookie mode alone."""
    stale: bool = False
    """True once a board was read that may be behind."""
    on_accepted: Callable[[str, int], None] | None = None
    """Told the player and the points of an action that was just accepted."""


Info = strawberry.Info[Context, None]
