"""Server and client over a real connection: what a caller sees, and what a handler may rely on."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator
from datetime import timedelta
from typing import cast

import grpc
import pytest
from google.rpc import error_details_pb2, status_pb2
from prometheus_client import REGISTRY
from topten.leaderboard.v1 import leaderboard_service_pb2 as pb
from topten.leaderboard.v1 import leaderboard_service_pb2_grpc as rpc

from services.runtime.call_context import begin_call
from services.runtime.errors import STATUS_KEY, Reason, ServiceError
from services.runtime.grpc_client import call, call_metadata, open_channel, open_stream
from services.runtime.grpc_server import MAX_MESSAGE_BYTES
from services.runtime.settings import ProcessConfig
from services.runtime.telemetry import configure
from tests.unit.runtime.grpc_boards import SERVICE, Client, serving
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


async def test_a_call_reaches_its_handler_with_its_caller(client: Client) -> None:
    begin_call("abc-1")
    before = handled("GetLeaderboard", "OK")
    answer = await client.get("caller")
    assert answer.frame.board == "u-1 ada abc-1"
    assert handled("GetLeaderboard", "OK") == before + 1


async def test_a_call_without_a_good_token_is_refused(client: Client) -> None:
    for token in (None, "junk", client.issuer.token(exp=1), client.issuer.token(headers={"typ": "stream+jwt"})):
        assert (await client.error("x", token=token)).reason is Reason.UNAUTHENTICATED
        seen: list[int] = []
        with pytest.raises(ServiceError) as caught:
            await client.watch("", seen, token=token)
        assert caught.value.reason is Reason.UNAUTHENTICATED
        assert seen == []
    assert client.servicer.attempts == 0


async def test_a_role_opens_what_is_stated_for_it_alone(client: Client) -> None:
    request = pb.GetRanksRequest(user_ids=["u-1"])
    with pytest.raises(ServiceError) as caught:
        await call(client.stub.GetRanks, request, token=client.token)
    assert caught.value.reason is Reason.PERMISSION_DENIED
    moderator = client.issuer.token(roles=["player", "moderator"])
    assert (await call(client.stub.GetRanks, request, token=moderator)).not_found == ["u-1"]
    assert await client.get("", token=client.issuer.token(roles=[]))


async def test_an_error_of_ours_arrives_as_it_was_raised(client: Client) -> None:
    error = await client.error("refused")
    assert (error.reason, error.message, error.retry_after) == (
        Reason.BOARD_NOT_FOUND,
        "no such board",
        timedelta(seconds=3),
    )
    assert error.metadata == {"board": "refused"}


async def test_bounds_of_a_request_are_kept_before_its_handler(client: Client) -> None:
    moderator = client.issuer.token(roles=["moderator"])
    wrong = pb.GetRanksRequest(board="b" * 101, user_ids=["ok", ""])
    with pytest.raises(ServiceError) as caught:
        await call(client.stub.GetRanks, wrong, token=moderator)
    assert caught.value.reason is Reason.INVALID_ARGUMENT
    assert {field for field, _ in caught.value.violations} == {"board", "user_ids[1]"}
    assert all(text for _, text in caught.value.violations)


async def test_bounds_are_told_as_bad_request(client: Client) -> None:
    error = await client.raw_error("b" * 101)
    status = status_pb2.Status.FromString(dict(error.trailing_metadata())[STATUS_KEY])
    bad = error_details_pb2.BadRequest()
    assert error.code() is grpc.StatusCode.INVALID_ARGUMENT
    assert any(detail.Unpack(bad) for detail in status.details if detail.Is(bad.DESCRIPTOR))
    assert bad.field_violations[0].field == "board"


async def test_a_fault_is_masked_and_found_by_its_request_id(
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


async def test_a_handler_may_still_abort_by_hand(client: Client) -> None:
    before = handled("GetLeaderboard", "Aborted")
    assert (await client.raw_error("aborts")).code() is grpc.StatusCode.ABORTED
    assert handled("GetLeaderboard", "Aborted") == before + 1


@pytest.mark.parametrize("sent", ["", "a b", "x" * 65, "ok\u00e9"])
async def test_a_request_id_that_is_not_well_formed_is_replaced(client: Client, sent: str) -> None:
    metadata = [] if not sent.isascii() else [("x-request-id", sent)]
    error = await client.raw_error("refused", *metadata)
    answered = dict(error.trailing_metadata())["x-request-id"]
    assert answered != sent
    assert len(answered) == 32


async def test_a_deadline_ends_the_handler(client: Client) -> None:
    error = await client.error("hangs", timeout=0.2)
    assert error.reason is Reason.UNAVAILABLE
    await asyncio.wait_for(client.servicer.cancelled.wait(), 30)
    assert client.servicer.deadline is not None
    assert 0 < client.servicer.deadline <= 0.2


async def test_a_call_without_a_deadline_is_given_one(issuer: Issuer) -> None:
    async with serving(issuer, max_unary=timedelta(seconds=0.2)) as client:
        with pytest.raises(grpc.aio.AioRpcError) as caught:
            await client.stub.GetLeaderboard(
                pb.GetLeaderboardRequest(board="hangs"), metadata=grpc.aio.Metadata(*call_metadata(client.token))
            )
        assert caught.value.code() is grpc.StatusCode.UNAVAILABLE
        assert client.servicer.cancelled.is_set()


async def test_an_onward_call_is_held_to_the_deadline_of_the_call_it_serves(client: Client) -> None:
    async def onward() -> pb.GetLeaderboardResponse:
        return await client.get("hangs", timeout=3600)

    client.servicer.onward = onward
    assert (await client.error("onward", timeout=0.3)).reason is Reason.UNAVAILABLE
    await asyncio.wait_for(client.servicer.cancelled.wait(), 30)
    assert client.servicer.deadline is not None
    assert client.servicer.deadline < 30, "not the hour that was asked for"


async def test_a_stream_is_read_to_its_end(client: Client) -> None:
    before = handled("WatchLeaderboard", "OK")
    async with open_stream(client.stub.WatchLeaderboard, pb.WatchLeaderboardRequest(), token=client.token) as answers:
        frames = [answer.frame async for answer in answers]
    assert [frame.version for frame in frames] == [0, 1, 2]
    assert {frame.board for frame in frames} == {"u-1"}
    assert handled("WatchLeaderboard", "OK") == before + 1


@pytest.mark.parametrize(("board", "reason"), [("refused", Reason.BOARD_NOT_FOUND), ("fault", Reason.INTERNAL)])
async def test_a_stream_that_fails_says_why_after_what_it_sent(client: Client, board: str, reason: Reason) -> None:
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
    await asyncio.wait_for(client.servicer.cancelled.wait(), 30)
    assert handled("WatchLeaderboard", "Cancelled") == before + 1


async def test_an_idempotent_method_is_tried_again(issuer: Issuer) -> None:
    async with serving(issuer, idempotent=True) as client:
        assert await client.get("flaky")
        assert client.servicer.attempts == 3
        client.servicer.attempts = 0
        assert (await client.error("down")).reason is Reason.UNAVAILABLE
        assert client.servicer.attempts == 4
        client.servicer.attempts = 0
        assert (await client.error("refused")).reason is Reason.BOARD_NOT_FOUND
        assert client.servicer.attempts == 1


async def test_any_other_method_is_tried_once(client: Client) -> None:
    assert (await client.error("down")).reason is Reason.UNAVAILABLE
    assert client.servicer.attempts == 1


async def test_a_server_that_is_away_is_unavailable(issuer: Issuer) -> None:
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


async def test_a_server_says_that_it_is_late_before_the_deadline(client: Client) -> None:
    error = await client.error("hangs", timeout=0.4)
    assert error.message == "the call took too long"
    assert error.retry_after is not None
