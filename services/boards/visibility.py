"""Who may read which board. Pure.

Decided here for everything that reads, watches or lists a board. For everybody else it does not exist.
"""

from __future__ import annotations

from collections.abc import Container
from typing import Final

from services.boards.board import Board, parse_custom_name
from services.boards.catalog import Catalog
from services.boards.definition import Definition
from services.runtime.auth.access import ACCOUNTS, STAFF
from services.runtime.auth.claims import Claims

_READS_ALL: Final = STAFF | {"leaderboard:read", "board:define"}


def may_read(catalog: Catalog, board: Board, caller: Claims, groups: Container[str] = ()) -> bool:
    """Whether the caller, who is a member of `groups`, may read a board that `Catalog.parse` returned.

    A token without roles, such as one for streams or for one board, reads public boards alone. `CallerGroups` knows the
    groups of a caller; without them nobody reads a board as a member of its group.
    """
    definition = catalog.definition_of(board)
    if definition is None or not may_read_definition(definition, caller, groups):
        return definition is None
    custom = parse_custom_name(board.qualifier)
    is_of_country = custom is not None and custom.country == caller.country
    is_restricted = definition.visibility == "members" and definition.is_per_country
    return is_of_country or not is_restricted or caller.may(_READS_ALL)


def may_read_definition(definition: Definition, caller: Claims, groups: Container[str] = ()) -> bool:
    """Whether the caller, who is a member of `groups`, may read a board of this definition."""
    if definition.visibility == "public" or caller.may(_READS_ALL):
        return True
    if definition.visibility != "members" or not _is_player(caller):
        return False
    return definition.group in groups if definition.group else definition.includes(caller.country)


def is_decided_by_groups(definition: Definition, caller: Claims) -> bool:
    """Whether it depends on the caller's groups alone if they may read a board of this definition."""
    is_of_members = definition.visibility == "members" and bool(definition.group)
    return is_of_members and _is_player(caller) and not caller.may(_READS_ALL)


def _is_player(caller: Claims) -> bool:
    return caller.may(ACCOUNTS) and not caller.board


def sees_team_of(user_id: str, caller: Claims) -> bool:
    """Whether the caller may learn on a board of teams which team a player is in: players learn their own alone."""
    return caller.user_id == user_id or caller.may(_READS_ALL)


def is_public(catalog: Catalog, board: Board) -> bool:
    """Whether everybody who may read boards may read this one."""
    definition = catalog.definition_of(board)
    return definition is None or definition.visibility == "public"
