"""The schema, and its SDL in `schema.graphql` beside this file.

`python -m edge.graphql.schema` writes the SDL; a test fails while the two differ.
"""

from __future__ import annotations

from datetime import datetime
from pathlib import Path

import strawberry
from graphql import GraphQLSchema, lexicographic_sort_schema, print_schema
from strawberry.schema.config import StrawberryConfig

from edge.graphql.binding import bind
from edge.graphql.fields import guard
from edge.graphql.resolvers.mutations import Mutation
from edge.graphql.resolvers.queries import Query
from edge.graphql.resolvers.scalars import DATE_TIME

SDL_PATH = Path(__file__).with_name("schema.graphql")
# Not sorted: sorting copies the types, and the copies of enums lose their Python values.
_schema = strawberry.Schema(query=Query, mutation=Mutation, config=StrawberryConfig(scalar_map={datetime: DATE_TIME}))
_guarded: GraphQLSchema = guard(bind(_schema._schema))  # noqa: SLF001  # Strawberry has no public name for it


def executable_schema() -> GraphQLSchema:
    """Return the schema as graphql-core runs it, guarded.

    Requests are parsed, bounded, validated and executed by graphql-core itself (see `prepared` and `handler`), in a fifth
    of the time that Strawberry's own execution takes.
    """
    return _guarded


def sdl() -> str:
    """Return the SDL of the schema, sorted by name."""
    return print_schema(lexicographic_sort_schema(executable_schema())) + "\n"


if __name__ == "__main__":
    SDL_PATH.write_text(sdl(), encoding="utf-8")
