"""Who may do what: the roles of accounts and the scopes of services, and which of them each of our processes has.

A method or field names what a caller must have one of, roles and scopes in one set; what names nothing is not served.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

PLAYER: Final = frozenset({"player"})
AUTHOR: Final = frozenset({"author"})
MODERATOR: Final = frozenset({"moderator"})
ADMIN: Final = frozenset({"admin"})
STAFF: Final = MODERATOR | ADMIN
ACCOUNTS: Final = PLAYER | AUTHOR | STAFF
# The role of a caller that is no account. It opens nothing: a service may do what its scopes say.
SERVICE: Final = "service"
# Whoever has a good token, whatever is in it.
EVERYBODY: Final = frozenset({"*"})

SCOPES: Final[Mapping[str, str]] = {
    "session:open": "sign players in and out in their name: register, login, refresh, logout",
    "session:check": "ask which sessions have ended",
    "account:read": "read accounts, with their roles and blocks",
    "account:block": "block players and take blocks back",
    "quiz:read": "read quizzes, without their keys",
    "quiz:write": "import quizzes",
    "score:read": "read scores and their history, with address and user agent, and the flags of fair play",
    "score:adjust": "void actions and adjust scores",
    "score:repair": "make boards anew and mend what is derived",
    "leaderboard:read": "read and watch every board",
    "event:read": "list events, for holding records and ledger against one another, and those that were not counted",
    "event:replay": "publish events once more, and count what was set aside",
    "player:erase": "have what is personal of an erased player forgotten; identity signs itself a token with it",
    "outbox:read": "ask up to when everything recorded is published",
}
# Each process has what it calls for, and no more.
OWN_SCOPES: Final[Mapping[str, frozenset[str]]] = {
    "edge": frozenset({"session:open", "session:check", "quiz:read", "leaderboard:read"}),
    "quiz": frozenset({"account:read"}),
    "score": frozenset({"account:block", "outbox:read"}),
    "leaderboard": frozenset({"account:read"}),
}
# Who sees boards, whichever way: over gRPC, GraphQL and the stream.
BOARD_READERS: Final = ACCOUNTS | {"leaderboard:read"}


def is_known(permission: str) -> bool:
    """True for a role that an account may have, a scope, and `*`."""
    return permission in ACCOUNTS | SCOPES.keys() | EVERYBODY
