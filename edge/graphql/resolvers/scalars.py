"""The scalar DateTime: UTC with milliseconds on the wire."""

from __future__ import annotations

from datetime import UTC, datetime

import strawberry
from graphql import GraphQLError, StringValueNode, ValueNode

from edge.times import format_time

MAX_LENGTH = 40


def parse_time(value: object) -> datetime:
    """Parse a time of ISO 8601, UTC without an offset. Raises GraphQLError, which does not repeat the input."""
    if isinstance(value, str) and len(value) <= MAX_LENGTH:
        try:
            found = datetime.fromisoformat(value)
            return (found if found.tzinfo else found.replace(tzinfo=UTC)).astimezone(UTC)
        except (ValueError, OverflowError):
            pass
    raise GraphQLError("DateTime must be an ISO 8601 time, such as 2026-11-23T20:15:42.007Z.")


def parse_literal(node: ValueNode, _variables: object = None) -> datetime:
    """Parse a time in a document. Raises GraphQLError, which names the place."""
    try:
        return parse_time(node.value if isinstance(node, StringValueNode) else None)
    except GraphQLError as error:
        raise GraphQLError(error.message, node) from None


DATE_TIME = strawberry.scalar(
    name="DateTime",
    description="An ISO 8601 time, in UTC unless it has an offset. Responses have the form `2026-11-23T20:15:42.007Z`.",
    specified_by_url="https://scalars.graphql.org/andimarek/date-time",
    serialize=format_time,
    parse_value=parse_time,
    parse_literal=parse_literal,
)
