"""The published schema."""

from __future__ import annotations

from graphql import build_schema
from graphql.utilities import find_breaking_changes

from edge.graphql.schema import SDL_PATH, executable_schema, sdl

AGAIN = "make gen"


def test_the_committed_sdl_is_the_schema() -> None:
    assert SDL_PATH.read_text(encoding="utf-8") == sdl(), AGAIN


def test_the_committed_sdl_is_equivalent_to_the_schema() -> None:
    assert find_breaking_changes(build_schema(SDL_PATH.read_text(encoding="utf-8")), executable_schema()) == []
