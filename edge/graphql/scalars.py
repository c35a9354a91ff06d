"""DateTime on the wire: UTC, three digits of a second, `Z`."""

from __future__ import annotations

from datetime import UTC, datetime

import strawberry
from graphql import GraphQLError

from edge.times import format_time

MAX_LENGTH = 40


def parse_time(value: object) -> datetime:
    """A time of ISO 8601; without an offset it is UTC. Raises GraphQLError, which does not repeat the input."""
    if isinstance(value, str) and len(value) <= MAX_LENGTH:
        try:
            found = datetime.fromisoformat(value)
            return (found if found.tzinfo else found.replace(tzinfo=UTC)).astimezone(UTC)
        except (ValueError, OverflowError):
            pass
    raise GraphQLError("DateTime must be a time of ISO 8601, such as 2026-11-23T20:15:42.007Z")


DATE_TIME = strawberry.scalar(
    name="DateTime",
    description="A time of ISO 8601; without an offset it is UTC. Answered as `2026-11-23T20:15:42.007Z`.",
    specified_by_url="https://scalars.graphql.org/andimarek/date-time",
    serialize=format_time,
    parse_value=parse_time,
)
