"""Server and client over a real connection: what a caller sees, and what a handler may rely on."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from datetime import timedelta
from functools import partial
from typing import Any, cast

import grpc
import pytest
from google.rpc import error_details_pb2, status_pb2
from grpc_health.v1 import health_pb2, health_pb2_grpc
from grpc_reflection.v1alpha import reflection_pb2, reflection_pb2_grpc
from prometheus_client import REGISTRY
from topten.leaderboard.v1 import leaderboard_service_pb2 as pb
from topten.leaderboard.v1 import leaderboard_service_pb2_grpc as rpc

from services.runtime.access import EVERYBODY
from services.runtime.auth import TokenVerifier
from services.runtime.call_context import begin_call, request_id, time_left
from services.runtime.errors import STATUS_KEY, Reason, ServiceError
from services.runtime.grpc_client import call, call_metadata, open_channel, open_stream
from services.runtime.grpc_server import MAX_MESSAGE_BYTES, GrpcServer, caller
from services.runtime.jwks import StaticKeys
from services.runtime.settings import ProcessConfig
from services.runtime.telemetry import configure
from tests.unit.partly import partly
from tests.unit.runtime.issuer import Issuer

SERVICE = "topten.leaderboard.v1.LeaderboardService"
ACCESS: dict[str, frozenset[str]] = {
    f"/{SERVICE}/GetLeaderboard": EVERYBODY,
    f"/{SERVICE}/WatchLeaderboard": frozenset({"player", "leaderboard:read"}),
    f"/{SERVICE}/GetRanks": frozenset({"moderator"}),
}
ACCESS |= {
    path: frozenset({"moderator"})
    for method in pb.DESCRIPTOR.services_by_name["LeaderboardService"].methods
    if (path := f"/{SERVICE}/{method.name}") not in ACCESS
}


@partly
class Boards(rpc.LeaderboardServiceServicer):
    """Answers by what the request says, and records what became of its handlers."""

    def __init__(self) -> None:
        self.attempts = 0
        self.entered = asyncio.Event()
        self.cancelled = asyncio.Event()
        self.deadline: float | None = None
        self.onward: Any = None
        self.peers: set[str] = set()

    async def GetLeaderboard(self, request: pb.GetLeaderboardRequest, context: Any) -> pb.GetLeaderboardResponse:
        self.attempts += 1
        self.peers.add(context.peer())
        self.entered.set()
        answer = pb.GetLeaderboardResponse()
        match request.board:
            case "caller":
                answer.frame.board = f"{caller().user_id} {caller().username} {request_id()}"
            case "refused":
                raise ServiceError(
                    Reason.BOARD_NOT_FOUND, "no such board", retry_after=timedelta(seconds=3), board="refused"
                )
            case "fault":
                raise KeyError("password=hunter2 at 10.0.0.7")
            case "timeout":
                raise TimeoutError("inside 10.0.0.7")
            case "down":
                raise ServiceError(Reason.UNAVAILABLE, "a store does not answer") from OSError("10.0.0.7")
            case "flaky" if self.attempts < 3:
                raise ServiceError(Reason.UNAVAILABLE, "not now")
            case "aborts":
                await context.abort(grpc.StatusCode.ABORTED, "by hand")
            case "hangs":
                self.deadline = time_left()
                await self._hang()
            case "onward":
                answer.frame.board = (await self.onward()).frame.board
            case "large":
                answer.frame.board = "x" * (MAX_MESSAGE_BYTES + 1)
        return answer

    async def WatchLeaderboard(
        self, request: pb.WatchLeaderboardRequest, context: Any
    ) -> AsyncIterator[pb.WatchLeaderboardResponse]:
        for version in range(3):
            response = pb.WatchLeaderboardResponse()
            response.frame.version = version
            response.frame.board = caller().user_id
            yield response
        if request.board == "refused":
            raise ServiceError(Reason.BOARD_NOT_FOUND, "it is gone")
        if request.board == "fault":
            raise KeyError("hunter2")
        if request.board == "endless":
            await self._hang()

    async def GetRanks(self, request: pb.GetRanksRequest, context: Any) -> pb.GetRanksResponse:
        return pb.GetRanksResponse(not_found=request.user_ids)

    async def WatchRanks(self, request: pb.WatchRanksRequest, context: Any) -> AsyncIterator[pb.WatchRanksResponse]:
        yield pb.WatchRanksResponse(board=request.board)

    async def _hang(self) -> None:
        self.entered.set()
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            self.cancelled.set()
            raise


class Client:
    """A stub with a token, and the server behind it."""

    def __init__(self, channel: grpc.aio.Channel, server: GrpcServer, servicer: Boards, issuer: Issuer) -> None:
        self.channel = channel
        self.stub = cast("rpc.LeaderboardServiceAsyncStub", rpc.LeaderboardServiceStub(channel))
        self.server = server
        self.servicer = servicer
        self.issuer = issuer
        self.token = issuer.token(roles=["player"])

    async def get(self, board: str, **arguments: Any) -> pb.GetLeaderboardResponse:
        request = pb.GetLeaderboardRequest(board=board)
        return await call(self.stub.GetLeaderboard, request, **({"token": self.token} | arguments))

    async def watch(self, board: str, seen: list[int], **arguments: Any) -> None:
        """Reads a stream to its end; the versions of its frames are left in `seen`, however it ends."""
        request = pb.WatchLeaderboardRequest(board=board)
        async with open_stream(self.stub.WatchLeaderboard, request, **({"token": self.token} | arguments)) as answers:
            async for answer in answers:
                seen.append(answer.frame.version)  # noqa: PERF401  # what came before a failure is to be seen

    async def error(self, board: str, **arguments: Any) -> ServiceError:
        with pytest.raises(ServiceError) as caught:
            await self.get(board, **arguments)
        return caught.value

    async def raw_error(self, board: str, *metadata: tuple[str, str]) -> grpc.aio.AioRpcError:
        sent = grpc.aio.Metadata(("authorization", f"Bearer {self.token}"), *metadata)
        with pytest.raises(grpc.aio.AioRpcError) as caught:
            await self.stub.GetLeaderboard(pb.GetLeaderboardRequest(board=board), metadata=sent, timeout=10)
        return caught.value


@asynccontextmanager
async def serving(issuer: Issuer, *, idempotent: bool = False, **arguments: Any) -> AsyncIterator[Client]:
    servicer = Boards()  # type: ignore[abstract]  # only three methods are called
    server = GrpcServer(
        "127.0.0.1:0",
        [partial(rpc.add_LeaderboardServiceServicer_to_server, servicer)],
        verifier=TokenVerifier(StaticKeys(issuer.key.public_key()), "topten", "topten"),
        access=ACCESS,
        **({"grace": timedelta(seconds=5)} | arguments),
    )
    async with AsyncExitStack() as stack:
        await server.start()
        stack.push_async_callback(server.stop)
        await server.announce()
        again = [f"/{SERVICE}/GetLeaderboard"] if idempotent else []
        channel = await stack.enter_async_context(open_channel(f"127.0.0.1:{server.port}", idempotent=again))
        yield Client(channel, server, servicer, issuer)


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


async def test_health_needs_no_token_and_follows_the_process(issuer: Issuer) -> None:
    async with serving(issuer) as client:
        health = health_pb2_grpc.HealthStub(client.channel)
        for service in ("", SERVICE):
            request = health_pb2.HealthCheckRequest(service=service)
            assert (await health.Check(request)).status == health_pb2.HealthCheckResponse.SERVING
        await client.server.withdraw()
        for service in ("", SERVICE):
            request = health_pb2.HealthCheckRequest(service=service)
            assert (await health.Check(request)).status == health_pb2.HealthCheckResponse.NOT_SERVING
        with pytest.raises(grpc.aio.AioRpcError) as caught:
            await health.Check(health_pb2.HealthCheckRequest(service="nobody"))
        assert caught.value.code() is grpc.StatusCode.NOT_FOUND


async def test_running_calls_end_within_the_grace_and_are_cancelled_after_it(issuer: Issuer) -> None:
    async with serving(issuer, grace=timedelta(seconds=0.2)) as client:
        running = asyncio.create_task(client.get("hangs", timeout=60))
        await client.servicer.entered.wait()
        await client.server.stop()
        assert client.servicer.cancelled.is_set()
        with pytest.raises(ServiceError) as caught:
            await running
        assert caught.value.reason is Reason.UNAVAILABLE


async def test_a_stop_that_is_cut_short_cancels_what_runs(issuer: Issuer) -> None:
    async with serving(issuer, grace=timedelta(seconds=3600)) as client:
        running = asyncio.create_task(client.get("hangs", timeout=60))
        await client.servicer.entered.wait()
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(client.server.stop(), 0.2)
        with pytest.raises(ServiceError):
            await running
        assert client.servicer.cancelled.is_set()


async def test_reflection_is_there_when_asked_for_and_needs_a_token(issuer: Issuer) -> None:
    async def names(client: Client, token: str) -> set[str]:
        stub = reflection_pb2_grpc.ServerReflectionStub(client.channel)
        request = reflection_pb2.ServerReflectionRequest(list_services="")
        metadata = grpc.aio.Metadata(*call_metadata(token))
        replies = stub.ServerReflectionInfo(iter([request]), metadata=metadata)
        return {service.name async for reply in replies for service in reply.list_services_response.service}

    async with serving(issuer, reflection=True) as client:
        assert SERVICE in await names(client, client.token)
        with pytest.raises(grpc.aio.AioRpcError) as caught:
            await names(client, "junk")
        assert caught.value.code() is grpc.StatusCode.UNAUTHENTICATED
    async with serving(issuer) as client:
        with pytest.raises(grpc.aio.AioRpcError) as caught:
            await names(client, client.token)
        assert caught.value.code() is grpc.StatusCode.UNIMPLEMENTED


async def test_an_old_connection_is_replaced_without_a_call_failing(issuer: Issuer) -> None:
    """Callers look up a name only when they connect: this is how a new instance behind it gets its share."""
    async with serving(issuer, idempotent=True, max_connection_age=timedelta(milliseconds=50)) as client:
        while len(client.servicer.peers) < 3:
            await client.get("caller")


async def test_a_taken_port_fails_the_start(issuer: Issuer) -> None:
    async with serving(issuer) as client:
        second = GrpcServer(
            f"127.0.0.1:{client.server.port}",
            [],
            verifier=TokenVerifier(StaticKeys(), "topten", "topten"),
            access={},
        )
        with pytest.raises(OSError, match="can't listen"):
            await second.start()


async def test_every_method_must_state_who_may_call_it() -> None:
    verifier = TokenVerifier(StaticKeys(), "topten", "topten")
    registrations = [partial(rpc.add_LeaderboardServiceServicer_to_server, Boards())]  # type: ignore[abstract]  # none is called
    missing = dict(list(ACCESS.items())[:2])
    with pytest.raises(ValueError, match=f"no access is stated for /{SERVICE}/GetRanks"):
        GrpcServer("127.0.0.1:0", registrations, verifier=verifier, access=missing)
    with pytest.raises(ValueError, match=r"don't exist: /no\.Such/Method"):
        GrpcServer("127.0.0.1:0", registrations, verifier=verifier, access=ACCESS | {"/no.Such/Method": frozenset()})


async def test_a_method_that_is_not_implemented_fails_the_start() -> None:
    half = cast("Any", rpc.LeaderboardServiceServicer)()
    with pytest.raises(TypeError, match="GetLeaderboard is not implemented"):
        GrpcServer(
            "127.0.0.1:0",
            [partial(rpc.add_LeaderboardServiceServicer_to_server, half)],
            verifier=TokenVerifier(StaticKeys(), "topten", "topten"),
            access=ACCESS,
        )


async def test_what_is_too_much_at_once_is_refused_and_not_sent_again(issuer: Issuer) -> None:
    async with serving(issuer, idempotent=True, max_calls=1) as opened:
        hanging = asyncio.create_task(opened.get("hangs"))
        await opened.servicer.entered.wait()
        attempts = opened.servicer.attempts
        refusal = await opened.error("all")
        assert refusal.reason is Reason.UNAVAILABLE
        assert refusal.retry_after == timedelta(seconds=1)
        assert opened.servicer.attempts == attempts
        health = health_pb2_grpc.HealthStub(opened.channel)
        assert (await health.Check(health_pb2.HealthCheckRequest())).status == health_pb2.HealthCheckResponse.SERVING
        hanging.cancel()
        await opened.servicer.cancelled.wait()


async def test_a_server_says_that_it_is_late_before_the_deadline(client: Client) -> None:
    error = await client.error("hangs", timeout=0.4)
    assert error.message == "the call took too long"
    assert error.retry_after is not None
