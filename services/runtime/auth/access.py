"""Roles of accounts, scopes of services, and the scopes of each of our own processes.

The access of a method or field is a set of roles and scopes, of which a caller needs one. Contracts declare it for methods
(see `methods`).
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

PLAYER: Final = frozenset({"player"})
AUTHOR: Final = frozenset({"author"})
MODERATOR: Final = frozenset({"moderator"})
ADMIN: Final = frozenset({"admin"})
STAFF: Final = MODERATOR | ADMIN
HOSTS: Final = AUTHOR | STAFF
ACCOUNTS: Final = PLAYER | AUTHOR | STAFF
# A guest has no password, and is none of the accounts above: what admits those admits no guest unless it says so.
GUEST: Final = frozenset({"guest"})
# The role of a caller that is not an account. It grants nothing: the scopes of a service do.
SERVICE: Final = "service"
# Everyone with a valid token.
EVERYBODY: Final = frozenset({"*"})

# The scope of a token that its account gets for its own data, also while it is blocked.
OWN_DATA: Final = "data:own"

SCOPES: Final[Mapping[str, str]] = {
    "session:open": "sign players in and out on their behalf: register, login, refresh, logout, guests",
    "session:check": "check which sessions have ended",
    "account:read": "read accounts, with their roles and blocks",
    "account:block": "block and unblock players",
    OWN_DATA: "export and erase the data of the token's own account; identity issues such tokens to players",
    "action:relay": "submit actions in groups, each with its player's token, and read players' places in rooms",
    "action:define": "define and archive action types",
    "action:submit": "submit actions of any player, and read action types",
    "board:define": "define and archive boards",
    "group:read": "read groups of players and their members",
    "group:write": "create, change and delete groups, for any player",
    "quiz:read": "read quizzes, without their answer keys",
    "quiz:write": "write, publish and import quizzes",
    "quiz:export": "read quizzes with their answer keys",
    "quiz:rejudge": "judge recorded answers again by the current version of a quiz",
    "score:read": "read scores, their history with IP address and user agent, and fair-play flags",
    "score:adjust": "void actions and adjust scores",
    "score:repair": "rebuild boards and repair derived data",
    "leaderboard:read": "read and watch every board",
    "event:read": "list submitted, counted and dead-lettered events, and compare the records of rooms",
    "event:replay": "publish events again and replay dead letters",
    "player:write": "create and update players of the service's own system",
    "player:accommodate": "decide how much extra time players have for attempts at timed quizzes",
    "player:erase": "erase the personal data of a player; identity issues itself a token with this scope",
    "outbox:read": "read how far the outbox is published",
    "webhook:write": "register webhooks of the service's own, and read and replay their deliveries",
    "head:sign": "have identity sign the heads of closed boards",
}
# The least that each process needs for its calls.
OWN_SCOPES: Final[Mapping[str, frozenset[str]]] = {
    "edge": frozenset({"session:open", "session:check", "action:relay", "quiz:read", "leaderboard:read", "group:read"}),
    "quiz": frozenset({"account:read", "leaderboard:read"}),
    "score": frozenset(
        {"account:block", "event:read", "event:replay", "group:read", "outbox:read", "head:sign", "leaderboard:read"}
    ),
    "leaderboard": frozenset({"account:read", "group:read"}),
}
# Readers of boards over GraphQL and the stream.
BOARD_READERS: Final = ACCOUNTS | GUEST | {"leaderboard:read"}


def is_known(permission: str) -> bool:
    """Whether it is a role of accounts, a scope, or `*`."""
    return permission in ACCOUNTS | GUEST | SCOPES.keys() | EVERYBODY
