"""gRPC for other teams: no call without a valid token. test_access.py tests who may call what."""

from __future__ import annotations

import base64
import hashlib
import json
import time
from typing import Any

import aiohttp
import grpc
import jwt
import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from google.protobuf import message_factory
from google.protobuf.descriptor import MethodDescriptor
from grpc_health.v1 import health_pb2, health_pb2_grpc
from topten.identity.v1 import identity_service_pb2
from topten.leaderboard.v1 import leaderboard_service_pb2
from topten.quiz.v1 import quiz_service_pb2
from topten.score.v1 import score_service_pb2

from services.cli.system.client import GraphqlClient
from services.runtime.auth.service_token import ServiceToken
from services.runtime.errors import ServiceError, from_rpc_error
from tests.deadline import deadline_seconds
from tests.players import endpoints, register
from tests.replicas import second_instance
from tests.servers import RunningStack, unique

FILES = {
    "identity": identity_service_pb2,
    "quiz": quiz_service_pb2,
    "score": score_service_pb2,
    "leaderboard": leaderboard_service_pb2,
}
METHODS = [
    (name, method)
    for name, file in FILES.items()
    for service in file.DESCRIPTOR.services_by_name.values()
    for method in service.methods
]
IDS = [method.full_name.removeprefix("topten.") for _, method in METHODS]


async def call(stack: RunningStack, name: str, method: MethodDescriptor, token: str | None) -> str:
    """Call with an empty request and return the reason of its refusal, or OK."""
    metadata = [] if token is None else [("authorization", f"Bearer {token}")]
    request = message_factory.GetMessageClass(method.input_type)()
    response: Any = message_factory.GetMessageClass(method.output_type)
    codec = {
        "request_serializer": type(request).SerializeToString,
        "response_deserializer": response.FromString,
    }
    path = f"/{method.containing_service.full_name}/{method.name}"
    async with grpc.aio.insecure_channel(stack.endpoints["grpc"][name]) as channel:
        try:
            if method.server_streaming:
                stream = channel.unary_stream(path, **codec)(request, metadata=metadata, timeout=deadline_seconds())
                await stream.read()
                stream.cancel()
            else:
                await channel.unary_unary(path, **codec)(request, metadata=metadata, timeout=deadline_seconds())
        except grpc.aio.AioRpcError as error:
            return str(from_rpc_error(error).reason)
    return "OK"


@pytest.fixture(scope="module")
async def player_token(stack: RunningStack) -> str:
    async with GraphqlClient(endpoints(stack).graphql) as client:
        return (await register(client)).access_token


def forged(token: str, **changes: Any) -> str:
    """The token with changed claims, signed by a key of the attacker."""
    claims = jwt.decode(token, options={"verify_signature": False}) | changes
    header = jwt.get_unverified_header(token)
    return jwt.encode(claims, Ed25519PrivateKey.generate(), algorithm="EdDSA", headers=header)


def unsigned(token: str) -> str:
    """The token with the algorithm `none`."""
    header = jwt.get_unverified_header(token) | {"alg": "none"}
    encoded = base64.urlsafe_b64encode(json.dumps(header).encode()).rstrip(b"=").decode()
    return f"{encoded}.{token.split('.')[1]}."


@pytest.mark.parametrize(("name", "method"), METHODS, ids=IDS)
async def test_no_method_responds_without_a_valid_token(
    stack: RunningStack, player_token: str, name: str, method: MethodDescriptor
) -> None:
    bad = [
        None,
        "",
        "nonsense",
        forged(player_token, roles=["admin"], exp=int(time.time()) + 600),
        unsigned(player_token),
        player_token[:-4] + "AAAA",
    ]
    assert {await call(stack, name, method, token) for token in bad} == {"UNAUTHENTICATED"}


async def test_only_the_health_service_needs_no_token(stack: RunningStack) -> None:
    for address in stack.endpoints["grpc"].values():
        async with grpc.aio.insecure_channel(address) as channel:
            answer = await health_pb2_grpc.HealthStub(channel).Check(
                health_pb2.HealthCheckRequest(), timeout=deadline_seconds()
            )
        assert answer.status == health_pb2.HealthCheckResponse.SERVING


async def test_another_team_gets_only_its_declared_scopes(stack: RunningStack) -> None:
    secret = unique("a secret of another team ")
    digest = hashlib.sha256(secret.encode()).hexdigest()
    team = {"secret_sha256": digest, "scopes": ["leaderboard:read"]}
    with second_instance(stack, "identity", IDENTITY_SERVICE_CLIENTS=json.dumps({"team": team})) as identity:
        url = f"http://{identity['TOPTEN_IDENTITY_OPS_ADDRESS']}/oauth/token"
        async with ServiceToken(url, "team", secret) as bought:
            token = await bought.get()
        async with ServiceToken(url, "team", digest) as digest_instead:
            with pytest.raises(ServiceError):
                await digest_instead.get()
    answers = {
        method.name: await call(stack, name, method, token)
        for name, method in METHODS
        if method.name in ("ListBoards", "GetRanks", "ListQuizzes", "GetScore", "Login", "SubmitAction")
    }
    assert answers.pop("ListBoards") == "OK"
    assert answers.pop("GetRanks") == "INVALID_ARGUMENT"
    assert set(answers.values()) == {"PERMISSION_DENIED"}


async def test_wrong_credentials_get_no_service_token(stack: RunningStack) -> None:
    url = f"{stack.endpoints['identity_http']}/oauth/token"
    operator = stack.endpoints["operator"]
    async with aiohttp.ClientSession() as session:
        for client_id, secret in (
            (operator["client_id"], "wrong"),
            (unique("nobody"), operator["client_secret"]),
            ("", ""),
        ):
            form = {"grant_type": "client_credentials"}
            basic = base64.b64encode(f"{client_id}:{secret}".encode()).decode()
            async with session.post(url, data=form, headers={"Authorization": f"Basic {basic}"}) as response:
                assert response.status == 401
                assert await response.json() == {"error": "invalid_client"}
        async with session.post(url, data={"grant_type": "password"}) as response:
            assert response.status == 400
