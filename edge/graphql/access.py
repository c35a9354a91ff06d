"""Who may ask and do what over GraphQL, decided before a field's resolver is called and again by the service behind it.

Every field at the top of a query or mutation is in the table; one that is not keeps the process from starting. What lies
below a field is for whoever may ask for the field, but for what services leave empty: the roles and the block of somebody
else's account, and who did what from where in a history.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Final

from graphql import GraphQLSchema

from services.runtime.access import ACCOUNTS, BOARD_READERS, EVERYBODY, PLAYER, STAFF, is_known

_QUIZ_READERS: Final = ACCOUNTS | {"quiz:read"}
_ADJUSTERS: Final = STAFF | {"score:adjust"}
_BLOCKERS: Final = STAFF | {"account:block"}

# EVERYBODY is without a token, too.
ACCESS: Final[Mapping[str, frozenset[str]]] = {
    "Query.aroundPlayer": BOARD_READERS,
    "Query.boards": BOARD_READERS,
    "Query.closedPeriods": BOARD_READERS,
    "Query.exportMyData": PLAYER,
    "Query.flags": STAFF | {"score:read"},
    "Query.getLeaderboard": BOARD_READERS,
    "Query.leaderboard": BOARD_READERS,
    "Query.me": ACCOUNTS,
    "Query.percentile": BOARD_READERS,
    "Query.quiz": _QUIZ_READERS,
    "Query.quizzes": _QUIZ_READERS,
    "Query.rankIfScore": BOARD_READERS,
    "Query.ranks": BOARD_READERS,
    "Query.scoreForPercentile": BOARD_READERS,
    "Query.scoreHistory": PLAYER | STAFF | {"score:read"},
    "Query.streamToken": ACCOUNTS,
    "Mutation.adjustScore": _ADJUSTERS,
    "Mutation.blockUser": _BLOCKERS,
    "Mutation.changePassword": ACCOUNTS,
    "Mutation.closeFlag": STAFF,
    "Mutation.deleteMyAccount": ACCOUNTS,
    "Mutation.login": EVERYBODY,
    "Mutation.logout": EVERYBODY,
    "Mutation.refreshToken": EVERYBODY,
    "Mutation.register": EVERYBODY,
    "Mutation.submitQuizAction": PLAYER,
    "Mutation.unblockUser": _BLOCKERS,
    "Mutation.updateProfile": ACCOUNTS,
    "Mutation.voidAction": _ADJUSTERS,
}


def guard(schema: GraphQLSchema) -> GraphQLSchema:
    """The schema, each field at its top behind its line of the table. Raises ValueError unless the two fit."""
    fields = {
        f"{kind.name}.{name}": field
        for kind in (schema.query_type, schema.mutation_type)
        if kind is not None
        for name, field in kind.fields.items()
    }
    unclassified = fields.keys() ^ ACCESS.keys()
    unknown = {permission for access in ACCESS.values() for permission in access if not is_known(permission)}
    if unclassified or unknown:
        raise ValueError(f"who may ask is not said, or in vain, for {', '.join(sorted(unclassified | unknown))}")
    for path, field in fields.items():
        if ACCESS[path] != EVERYBODY and field.resolve is not None:
            field.resolve = _guarded(field.resolve, ACCESS[path])
    return schema


def _guarded(resolve: Callable[..., Any], access: frozenset[str]) -> Callable[..., Any]:
    def resolver(source: Any, info: Any, **arguments: Any) -> Any:
        info.context.caller.require(access)
        return resolve(source, info, **arguments)

    return resolver
