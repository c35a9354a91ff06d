"""The schema, and its text in `schema.graphql` beside this file.

`python -m edge.graphql.schema` writes the text anew; a test fails while the two differ.
"""

from __future__ import annotations

from datetime import datetime
from pathlib import Path

import strawberry
from graphql import GraphQLSchema, lexicographic_sort_schema, print_schema
from strawberry.schema.config import StrawberryConfig

from edge.graphql.access import guard
from edge.graphql.mutations import Mutation
from edge.graphql.queries import Query
from edge.graphql.scalars import DATE_TIME

SDL_PATH = Path(__file__).with_name("schema.graphql")
# Not sorted: sorting makes the types anew, and enums lose their Python values by it.
_schema = strawberry.Schema(query=Query, mutation=Mutation, config=StrawberryConfig(scalar_map={datetime: DATE_TIME}))
_guarded: GraphQLSchema = guard(_schema._schema)  # noqa: SLF001  # there is no public name for it


def executable_schema() -> GraphQLSchema:
    """The schema as graphql-core runs it, guarded.

    Requests are parsed, bounded, validated and executed with graphql-core itself (see `documents` and `handler`): that
    is a fifth of the time of Strawberry's own way to the same answer, and nothing is done twice.
    """
    return _guarded


def sdl() -> str:
    """The schema as text, sorted by name."""
    return print_schema(lexicographic_sort_schema(executable_schema())) + "\n"


if __name__ == "__main__":
    SDL_PATH.write_text(sdl(), encoding="utf-8")
