"""Server and client over a real connection: what a caller sees, and what a handler may rely on."""

from __future__ import annotations

import asyncio
import logging
from collections import Counter
from collections.abc import AsyncIterator
from datetime import timedelta
from typing import Any, cast

import grpc
import pytest
from google.rpc import error_details_pb2, status_pb2
from prometheus_client import REGISTRY
from topten.identity.v1 import identity_service_pb2
from topten.leaderboard.v1 import leaderboard_service_pb2 as pb
from topten.leaderboard.v1 import leaderboard_service_pb2_grpc as rpc

from services.runtime.config.settings import ProcessConfig
from services.runtime.errors import STATUS_KEY, Reason, ServiceError, from_rpc_error
from services.runtime.grpc.call_context import begin_call
from services.runtime.grpc.client import call, call_metadata, open_channel, open_stream
from services.runtime.grpc.server import MAX_MESSAGE_BYTES
from services.runtime.telemetry.logging import configure
from tests.deadline import deadline, deadline_seconds, eventually
from tests.unit.runtime.grpc.grpc_boards import SERVICE, Client, serving
from tests.unit.runtime.issuer import Issuer


@pytest.fixture
async def client(issuer: Issuer) -> AsyncIterator[Client]:
    async with serving(issuer) as opened:
        yield opened


def handled(method: str, code: str) -> float:
    labels = {"grpc_service": SERVICE, "grpc_method": method, "grpc_code": code}
    for kind in ("unary", "server_stream"):
        value = REGISTRY.get_sample_value("grpc_server_handled_total", labels | {"grpc_type": kind})
        if value is not None:
            return value
    return 0.0


async def is_counted(method: str, code: str, before: float) -> None:
    """One more call has ended so. The server counts once the status is sent, so the caller may have it before."""

    async def holds() -> bool:
        return handled(method, code) == before + 1

    await eventually(holds, f"{method} has ended as {code}")


async def test_a_call_reaches_its_handler_with_its_caller(client: Client) -> None:
    begin_call("abc-1")
    before = handled("GetLeaderboard", "OK")
    answer = await client.get("caller")
    assert answer.frame.board == "u-1 ada abc-1"
    await is_counted("GetLeaderboard", "OK", before)


async def test_a_call_without_a_valid_token_is_refused(client: Client) -> None:
    for token in (None, "junk", client.issuer.token(exp=1), client.issuer.token(headers={"typ": "stream+jwt"})):
        assert (await client.error("x", token=token)).reason is Reason.UNAUTHENTICATED
        seen: list[int] = []
        with pytest.raises(ServiceError) as caught:
            await client.watch("", seen, token=token)
        assert caught.value.reason is Reason.UNAUTHENTICATED
        assert seen == []
    assert client.servicer.attempts == 0


async def test_a_method_is_open_to_the_roles_of_its_contract_alone(client: Client) -> None:
    author = client.issuer.token(roles=["author"])
    assert await client.get("", token=author)
    with pytest.raises(ServiceError) as caught:
        await call(client.stub.ExportPlayer, pb.ExportPlayerRequest(), token=author)
    assert caught.value.reason is Reason.PERMISSION_DENIED
    await call(client.stub.ExportPlayer, pb.ExportPlayerRequest(), token=client.token)
    assert (await client.error("", token=client.issuer.token(roles=[]))).reason is Reason.PERMISSION_DENIED


async def test_a_service_error_arrives_as_it_was_raised(client: Client) -> None:
    error = await client.error("refused")
    assert (error.reason, error.message, error.retry_after) == (
        Reason.BOARD_NOT_FOUND,
        "no such board",
        timedelta(seconds=3),
    )
    assert error.metadata == {"board": "refused"}


async def test_an_invalid_request_never_reaches_its_handler(client: Client) -> None:
    moderator = client.issuer.token(roles=["moderator"])
    wrong = pb.GetRanksRequest(board="b" * 101, user_ids=["ok", ""])
    with pytest.raises(ServiceError) as caught:
        await call(client.stub.GetRanks, wrong, token=moderator)
    assert caught.value.reason is Reason.INVALID_ARGUMENT
    assert {field for field, _ in caught.value.violations} == {"board", "user_ids[1]"}
    assert all(text for _, text in caught.value.violations)


async def sent_raw(client: Client, method: str, data: bytes, token: str = "") -> grpc.aio.AioRpcError:
    """Send bytes to a method, and return its refusal."""
    metadata = grpc.aio.Metadata(("authorization", f"Bearer {token}"))
    unary: Any = client.channel.unary_unary(method)
    stream: Any = client.channel.unary_stream(method)

    async def answer() -> None:
        if "Watch" in method:
            await stream(data, metadata=metadata, timeout=deadline_seconds()).read()
        else:
            await unary(data, metadata=metadata, timeout=deadline_seconds())

    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await answer()
    return caught.value


@pytest.mark.parametrize("method", ["GetLeaderboard", "WatchLeaderboard", "GetRanks", "WatchRanks", "ExportPlayer"])
async def test_bytes_that_do_not_parse_are_refused_after_the_token(
    client: Client, caplog: pytest.LogCaptureFixture, method: str
) -> None:
    reasons = [
        from_rpc_error(await sent_raw(client, f"/{SERVICE}/{method}", b"\xff\xff\xff", token)).reason
        for token in ("", client.token)
    ]
    assert reasons == [Reason.UNAUTHENTICATED, Reason.INVALID_ARGUMENT]
    assert not [record for record in caplog.records if record.exc_info]


@pytest.mark.parametrize("method", ["Check", "Watch"])
async def test_bytes_that_are_no_health_check_are_refused(client: Client, method: str) -> None:
    error = await sent_raw(client, f"/grpc.health.v1.Health/{method}", b"\xff\xff\xff")
    assert error.code() is grpc.StatusCode.INVALID_ARGUMENT


async def test_violations_are_returned_as_bad_request(client: Client) -> None:
    error = await client.raw_error("b" * 101)
    status = status_pb2.Status.FromString(dict(error.trailing_metadata())[STATUS_KEY])
    bad = error_details_pb2.BadRequest()
    assert error.code() is grpc.StatusCode.INVALID_ARGUMENT
    assert any(detail.Unpack(bad) for detail in status.details if detail.Is(bad.DESCRIPTOR))
    assert bad.field_violations[0].field == "board"


async def test_an_internal_error_is_masked_and_logged_with_its_request_id(
    client: Client, capfdbinary: pytest.CaptureFixture[bytes]
) -> None:
    configure(ProcessConfig(), "sample")
    try:
        error = await client.raw_error("fault", ("x-request-id", "find-me"))
    finally:
        logging.getLogger().handlers.clear()
    assert error.code() is grpc.StatusCode.INTERNAL
    assert dict(error.trailing_metadata())["x-request-id"] == "find-me"
    seen = f"{error.details()} {error.trailing_metadata()!r}"
    assert "hunter2" not in seen
    assert "10.0.0.7" not in seen
    logged = capfdbinary.readouterr().err.decode()
    assert "request_id=find-me" in logged
    assert "KeyError" in logged


@pytest.mark.parametrize("board", ["timeout", "down"])
async def test_causes_never_cross_the_wire(client: Client, board: str) -> None:
    error = await client.raw_error(board)
    assert "10.0.0.7" not in f"{error.details()} {error.trailing_metadata()!r}"
    expected = grpc.StatusCode.INTERNAL if board == "timeout" else grpc.StatusCode.UNAVAILABLE
    assert error.code() is expected


async def test_a_handler_may_abort_a_call(client: Client) -> None:
    before = handled("GetLeaderboard", "Aborted")
    assert (await client.raw_error("aborts")).code() is grpc.StatusCode.ABORTED
    await is_counted("GetLeaderboard", "Aborted", before)


@pytest.mark.parametrize("sent", ["", "a b", "x" * 65, "ok\u00e9"])
async def test_a_request_id_that_is_not_well_formed_is_replaced(client: Client, sent: str) -> None:
    metadata = [] if not sent.isascii() else [("x-request-id", sent)]
    error = await client.raw_error("refused", *metadata)
    answered = dict(error.trailing_metadata())["x-request-id"]
    assert answered != sent
    assert len(answered) == 32


async def test_a_deadline_ends_the_handler(client: Client) -> None:
    error = await client.error("hangs", timeout=1)
    assert error.reason is Reason.UNAVAILABLE
    await asyncio.wait_for(client.servicer.cancelled.wait(), deadline_seconds())
    assert client.servicer.deadline is not None
    assert 0 < client.servicer.deadline <= 1


async def test_a_call_without_a_deadline_gets_the_default_limit(issuer: Issuer) -> None:
    async with serving(issuer, max_unary=timedelta(seconds=0.2)) as client:
        with pytest.raises(grpc.aio.AioRpcError) as caught:
            await client.stub.GetLeaderboard(
                pb.GetLeaderboardRequest(board="hangs"), metadata=grpc.aio.Metadata(*call_metadata(client.token))
            )
        assert caught.value.code() is grpc.StatusCode.UNAVAILABLE
        assert client.servicer.cancelled.is_set()


async def test_a_call_to_an_upstream_inherits_the_deadline(client: Client) -> None:
    async def onward() -> pb.GetLeaderboardResponse:
        return await client.get("hangs", timeout=3600)

    client.servicer.onward = onward
    assert (await client.error("onward", timeout=1)).reason is Reason.UNAVAILABLE
    await asyncio.wait_for(client.servicer.cancelled.wait(), deadline_seconds())
    assert client.servicer.deadline is not None
    assert client.servicer.deadline < 30, "not the hour that was asked for"


async def test_a_stream_is_read_to_its_end(client: Client) -> None:
    before = handled("WatchLeaderboard", "OK")
    async with open_stream(client.stub.WatchLeaderboard, pb.WatchLeaderboardRequest(), token=client.token) as answers:
        frames = [answer.frame async for answer in answers]
    assert [frame.version for frame in frames] == [0, 1, 2]
    assert {frame.board for frame in frames} == {"u-1"}
    await is_counted("WatchLeaderboard", "OK", before)


@pytest.mark.parametrize(("board", "reason"), [("refused", Reason.BOARD_NOT_FOUND), ("fault", Reason.INTERNAL)])
async def test_a_failing_stream_delivers_its_messages_and_then_the_reason(
    client: Client, board: str, reason: Reason
) -> None:
    seen: list[int] = []
    with pytest.raises(ServiceError) as caught:
        await client.watch(board, seen)
    assert caught.value.reason is reason
    assert seen == [0, 1, 2]


async def test_an_abandoned_stream_ends_its_handler(client: Client) -> None:
    before = handled("WatchLeaderboard", "Cancelled")
    async with open_stream(
        client.stub.WatchLeaderboard, pb.WatchLeaderboardRequest(board="endless"), token=client.token
    ) as answers:
        async for answer in answers:
            if answer.frame.version == 2:
                break
        await client.servicer.entered.wait()
    await asyncio.wait_for(client.servicer.cancelled.wait(), deadline_seconds())
    await is_counted("WatchLeaderboard", "Cancelled", before)


async def test_an_idempotent_method_is_retried(issuer: Issuer) -> None:
    async with serving(issuer, upstream="leaderboard") as client:
        assert await client.get("flaky")
        assert client.servicer.attempts == 3
        client.servicer.attempts = 0
        assert (await client.error("down")).reason is Reason.UNAVAILABLE
        assert client.servicer.attempts == 4
        client.servicer.attempts = 0
        assert (await client.error("refused")).reason is Reason.BOARD_NOT_FOUND
        assert client.servicer.attempts == 1


async def test_only_methods_declared_idempotent_are_retried() -> None:
    attempts: Counter[str] = Counter()

    def unavailable(name: str) -> Any:
        async def abort(request: Any, context: Any) -> None:
            attempts[name] += 1
            await context.abort(grpc.StatusCode.UNAVAILABLE, "")

        return grpc.unary_unary_rpc_method_handler(abort)

    service = identity_service_pb2.DESCRIPTOR.services_by_name["IdentityService"].full_name
    handlers = {name: unavailable(name) for name in ("GetUsers", "Login")}
    server = grpc.aio.server()
    server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler(service, handlers),))
    port = server.add_insecure_port("127.0.0.1:0")
    await server.start()
    try:
        async with open_channel(f"127.0.0.1:{port}", upstream="identity") as channel:
            for name in handlers:
                method: Any = channel.unary_unary(f"/{service}/{name}")
                with pytest.raises(grpc.aio.AioRpcError):
                    await method(b"")
    finally:
        await server.stop(None)
    assert attempts == {"GetUsers": 4, "Login": 1}


async def test_an_unreachable_server_is_unavailable(issuer: Issuer) -> None:
    async with serving(issuer) as client:
        port = client.server.port
    async with open_channel(f"127.0.0.1:{port}") as channel:
        stub = cast("rpc.LeaderboardServiceAsyncStub", rpc.LeaderboardServiceStub(channel))
        with pytest.raises(ServiceError) as caught:
            await call(stub.GetLeaderboard, pb.GetLeaderboardRequest(), token=None)
        assert caught.value.reason is Reason.UNAVAILABLE
        assert str(port) not in caught.value.message


async def test_messages_are_bounded(client: Client) -> None:
    assert (await client.error("large")).reason is Reason.INTERNAL
    assert (await client.error("x" * (MAX_MESSAGE_BYTES + 1))).reason is Reason.INTERNAL
    assert client.servicer.attempts == 1


async def test_a_late_call_is_refused_before_its_deadline(client: Client) -> None:
    async with deadline("a refusal by the server"):
        # On a busy machine the caller's own deadline may come first.
        while (error := await client.error("hangs", timeout=0.4)).retry_after is None:
            assert error.reason is Reason.UNAVAILABLE
    assert error.reason is Reason.UNAVAILABLE
