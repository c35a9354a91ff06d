"""One exception, one table, and nothing internal across the boundary."""

from __future__ import annotations

from datetime import timedelta

import grpc
import pytest
from google.rpc import error_details_pb2, status_pb2
from topten.error.v1 import error_reason_pb2

from services.runtime.errors import DOMAIN, STATUS, STATUS_KEY, Reason, ServiceError, from_rpc_error, to_rpc_status


def failed(code: grpc.StatusCode, details: str = "secret text", status: bytes | None = None) -> grpc.aio.AioRpcError:
    trailing = grpc.aio.Metadata() if status is None else grpc.aio.Metadata((STATUS_KEY, status))
    return grpc.aio.AioRpcError(code, grpc.aio.Metadata(), trailing, details, "debug: 10.0.0.7")


def test_reasons_are_exactly_the_published_ones() -> None:
    published = {name.removeprefix("ERROR_REASON_") for name, _ in error_reason_pb2.ErrorReason.items()}
    assert {reason.value for reason in Reason} == published - {"UNSPECIFIED"}
    assert {reason.name for reason in Reason} == {reason.value for reason in Reason}


def test_every_reason_has_a_status_and_none_is_ok() -> None:
    assert set(STATUS) == set(Reason)
    assert grpc.StatusCode.OK not in STATUS.values()


@pytest.mark.parametrize("reason", list(Reason))
def test_an_error_crosses_the_wire_unchanged(reason: Reason) -> None:
    error = ServiceError(
        reason,
        "words",
        retry_after=timedelta(seconds=1.5),
        violations=[("a.b[0]", "too long")],
        quiz_id="rivers",
        attempts=3,
    )
    status = to_rpc_status(error).SerializeToString()
    back = from_rpc_error(failed(error.code, status=status))
    assert (back.reason, back.message, back.retry_after) == (reason, "words", timedelta(seconds=1.5))
    assert back.violations == (("a.b[0]", "too long"),)
    assert back.metadata == {"quiz_id": "rivers", "attempts": "3"}


def test_the_status_carries_the_published_details() -> None:
    status = to_rpc_status(ServiceError(Reason.RATE_LIMITED, "slow down", retry_after=timedelta(seconds=2)))
    info, retry = error_details_pb2.ErrorInfo(), error_details_pb2.RetryInfo()
    assert status.code == grpc.StatusCode.RESOURCE_EXHAUSTED.value[0]
    assert status.details[0].Unpack(info)
    assert (info.reason, info.domain) == ("RATE_LIMITED", DOMAIN)
    assert status.details[1].Unpack(retry)
    assert retry.retry_delay.seconds == 2
    assert len(status.details) == 2


def test_what_an_error_says_is_bounded() -> None:
    status = to_rpc_status(ServiceError(Reason.QUIZ_NOT_FOUND, "m" * 10_000, quiz_id="q" * 10_000))
    assert len(status.message) == 500
    assert len(status.SerializeToString()) < 2000


def test_a_reason_by_its_word_is_the_same() -> None:
    assert ServiceError("QUIZ_CLOSED", "x").reason is Reason.QUIZ_CLOSED
    with pytest.raises(ValueError, match="NO_SUCH"):
        ServiceError("NO_SUCH", "x")


@pytest.mark.parametrize(
    ("code", "reason"),
    [
        (grpc.StatusCode.UNAVAILABLE, Reason.UNAVAILABLE),
        (grpc.StatusCode.DEADLINE_EXCEEDED, Reason.UNAVAILABLE),
        (grpc.StatusCode.CANCELLED, Reason.UNAVAILABLE),
        (grpc.StatusCode.UNAUTHENTICATED, Reason.UNAUTHENTICATED),
        (grpc.StatusCode.PERMISSION_DENIED, Reason.PERMISSION_DENIED),
        (grpc.StatusCode.INTERNAL, Reason.INTERNAL),
        (grpc.StatusCode.UNKNOWN, Reason.INTERNAL),
        (grpc.StatusCode.UNIMPLEMENTED, Reason.INTERNAL),
        (grpc.StatusCode.RESOURCE_EXHAUSTED, Reason.INTERNAL),
    ],
)
def test_of_a_foreign_error_only_the_status_is_believed(code: grpc.StatusCode, reason: Reason) -> None:
    error = from_rpc_error(failed(code))
    assert error.reason is reason
    assert "secret" not in error.message
    assert "10.0.0.7" not in str(error)


def foreign_status(reason: str, domain: str) -> bytes:
    status = status_pb2.Status(code=5, message="secret text")
    status.details.add().Pack(error_details_pb2.ErrorInfo(reason=reason, domain=domain))
    raw: bytes = status.SerializeToString()
    return raw


@pytest.mark.parametrize(
    "status",
    [
        b"\xff\xff\xff",
        b"",
        foreign_status("QUIZ_NOT_FOUND", "example.com"),
        foreign_status("NO_SUCH_REASON", DOMAIN),
        status_pb2.Status(code=5, message="secret text").SerializeToString(),
    ],
)
def test_a_status_that_is_not_ours_tells_nothing(status: bytes) -> None:
    error = from_rpc_error(failed(grpc.StatusCode.NOT_FOUND, status=status))
    assert error.reason is Reason.INTERNAL
    assert "secret" not in error.message
