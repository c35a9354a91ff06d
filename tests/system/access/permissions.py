"""Who may do what: every method of the contracts and every root field as it declares, every address as listed here.

A row names roles and scopes, each of which is enough. `player` is every account but a guest; `own` is the player about
themselves and nobody else; `outside` is a player of an outside issuer, as test_outside_issuer.py tests; `*` is every caller,
also without a token.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from google.protobuf.descriptor import MethodDescriptor
from graphql import GraphQLField, GraphQLObjectType
from topten.action.v1 import action_service_pb2
from topten.attempt.v1 import attempt_service_pb2
from topten.authoring.v1 import authoring_service_pb2
from topten.board.v1 import board_service_pb2
from topten.group.v1 import group_service_pb2
from topten.identity.v1 import identity_service_pb2
from topten.leaderboard.v1 import leaderboard_service_pb2
from topten.quiz.v1 import quiz_service_pb2
from topten.room.v1 import room_service_pb2
from topten.score.v1 import score_service_pb2
from topten.status.v1 import status_service_pb2
from topten.webhook.v1 import webhook_service_pb2

from edge.graphql.fields import declaration
from edge.graphql.schema import executable_schema
from services.runtime.auth.access import ACCOUNTS, EVERYBODY
from services.runtime.grpc.methods import methods

SCHEMA = executable_schema()
_SERVICES = {
    "action": action_service_pb2,
    "attempt": attempt_service_pb2,
    "authoring": authoring_service_pb2,
    "board": board_service_pb2,
    "group": group_service_pb2,
    "identity": identity_service_pb2,
    "quiz": quiz_service_pb2,
    "room": room_service_pb2,
    "score": score_service_pb2,
    "leaderboard": leaderboard_service_pb2,
    "status": status_service_pb2,
    "webhook": webhook_service_pb2,
}
METHODS: Final[Mapping[str, MethodDescriptor]] = {
    f"{name}.{method.name}": method
    for name, file in _SERVICES.items()
    for service in file.DESCRIPTOR.services_by_name.values()
    for method in service.methods
}
FIELDS: Final[Mapping[str, GraphQLField]] = {
    f"{root.name}.{name}": definition
    for root in (SCHEMA.query_type, SCHEMA.mutation_type)
    if isinstance(root, GraphQLObjectType)
    for name, definition in root.fields.items()
}
# Where the service admits fewer than the contract can say: a player only about themselves, an outside player alone.
_NARROWER: Final = {
    "identity.AdmitPlayer": "outside",
    "score.GetScore": "own moderator admin score:read",
    "score.ListScoreHistory": "own moderator admin score:read",
    "Query.scoreHistory": "own moderator admin score:read",
    "Mutation.openRoom": "author moderator admin",
    "Mutation.joinRoom": "anonymous guest player",
}


def process_of(path: str) -> str:
    """The process that serves a method."""
    noun = path.partition(".")[0]
    served = {
        "action": "quiz",
        "attempt": "quiz",
        "authoring": "quiz",
        "board": "score",
        "group": "identity",
        "room": "quiz",
        "status": "score",
        "webhook": "score",
    }
    return served.get(noun, noun)


def _row(name: str, access: frozenset[str]) -> str:
    """The row of a declared access. A method that admits every account admits the roles of all but guests."""
    words = access - ACCOUNTS | {"player"} if access >= ACCOUNTS else access
    return _NARROWER.get(name, "*" if access == EVERYBODY else " ".join(sorted(words)))


RPCS: Final[Mapping[str, str]] = {
    name: _row(name, methods(method.containing_service.full_name)[method.name].access)
    for name, method in METHODS.items()
}
ROOTS: Final[Mapping[str, str]] = {name: _row(name, declaration(field).access) for name, field in FIELDS.items()}
# What lies below a root field is for all who may read the field, except what services leave empty for some.
GUARDED: Mapping[str, str] = {
    "User.roles": "own moderator admin account:read",
    "User.block": "own moderator admin account:read",
    "User.sanctions": "moderator admin account:read",
    "ScoreChange.ip": "moderator admin score:read",
    "ScoreChange.userAgent": "moderator admin score:read",
    "ScoreChange.actor": "moderator admin score:read",
}
ADDRESSES: Mapping[str, str] = {
    "/api/v1/leaderboard/stream": "player guest leaderboard:read",
    "/api/v1/rooms/0000000/stream": "player guest leaderboard:read",
    "/": "*",
    "/livez": "*",
    "/readyz": "*",
    "/.well-known/jwks.json": "*",
    "/graphql/schema.graphql": "*",
}
