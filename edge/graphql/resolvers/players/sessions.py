"""Opening a session for a caller."""

from __future__ import annotations

from topten.identity.v1 import identity_pb2

from edge.graphql.execution.context import Context
from edge.graphql.resolvers.types import Session
from services.runtime.clock import utc_now


def opened_session(context: Context, session: identity_pb2.Session) -> Session:
    """Return a new session as its caller reads it. In cookie mode the cookies have its tokens, and the response none."""
    if context.cookies is not None:
        context.cookies.open(session, utc_now())
    return Session.from_proto(session, with_tokens=context.cookies is None)
