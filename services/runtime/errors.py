"""The one exception that crosses a boundary, and the one table from its reason to a gRPC status.

Owns `ServiceError` and its two translations (to `google.rpc.Status`, from a failed call). Must never carry what is
internal: no exception text, no address, no stack. What a caller may read is the reason, the message and the metadata.
"""

from __future__ import annotations

from collections.abc import Iterable
from datetime import timedelta
from enum import StrEnum

import grpc
from google.protobuf.duration_pb2 import Duration
from google.protobuf.message import DecodeError
from google.rpc import error_details_pb2, status_pb2

DOMAIN = "topten"
STATUS_KEY = "grpc-status-details-bin"
# All of an error travels in the trailers of its call, for which 8 KiB are commonly allowed.
MAX_MESSAGE = 500
MAX_METADATA = 200
_TIMES_OUT = "a service that is needed did not answer"


class Reason(StrEnum):
    """The published reasons: `topten.error.v1.ErrorReason` without its prefix."""

    UNAUTHENTICATED = "UNAUTHENTICATED"
    PERMISSION_DENIED = "PERMISSION_DENIED"
    INVALID_ARGUMENT = "INVALID_ARGUMENT"
    QUIZ_NOT_FOUND = "QUIZ_NOT_FOUND"
    QUIZ_CLOSED = "QUIZ_CLOSED"
    ATTEMPTS_EXHAUSTED = "ATTEMPTS_EXHAUSTED"
    ACTION_ID_CONFLICT = "ACTION_ID_CONFLICT"
    TIMESTAMP_OUT_OF_WINDOW = "TIMESTAMP_OUT_OF_WINDOW"
    PLAYER_BLOCKED = "PLAYER_BLOCKED"
    PLAYER_NOT_FOUND = "PLAYER_NOT_FOUND"
    BOARD_NOT_FOUND = "BOARD_NOT_FOUND"
    CURSOR_EXPIRED = "CURSOR_EXPIRED"
    RATE_LIMITED = "RATE_LIMITED"
    USERNAME_TAKEN = "USERNAME_TAKEN"
    CREDENTIALS_INVALID = "CREDENTIALS_INVALID"
    DOCUMENT_TOO_COSTLY = "DOCUMENT_TOO_COSTLY"
    UNAVAILABLE = "UNAVAILABLE"
    INTERNAL = "INTERNAL"
    ACTION_NOT_FOUND = "ACTION_NOT_FOUND"
    FLAG_NOT_FOUND = "FLAG_NOT_FOUND"


# Answers that are the server's fault, not the caller's.
FAULTS = frozenset(
    {
        grpc.StatusCode.UNAVAILABLE,
        grpc.StatusCode.INTERNAL,
        grpc.StatusCode.UNKNOWN,
        grpc.StatusCode.DEADLINE_EXCEEDED,
        grpc.StatusCode.DATA_LOSS,
    }
)
STATUS: dict[Reason, grpc.StatusCode] = {
    Reason.UNAUTHENTICATED: grpc.StatusCode.UNAUTHENTICATED,
    Reason.PERMISSION_DENIED: grpc.StatusCode.PERMISSION_DENIED,
    Reason.INVALID_ARGUMENT: grpc.StatusCode.INVALID_ARGUMENT,
    Reason.QUIZ_NOT_FOUND: grpc.StatusCode.NOT_FOUND,
    Reason.QUIZ_CLOSED: grpc.StatusCode.FAILED_PRECONDITION,
    Reason.ATTEMPTS_EXHAUSTED: grpc.StatusCode.FAILED_PRECONDITION,
    Reason.ACTION_ID_CONFLICT: grpc.StatusCode.ALREADY_EXISTS,
    Reason.TIMESTAMP_OUT_OF_WINDOW: grpc.StatusCode.FAILED_PRECONDITION,
    Reason.PLAYER_BLOCKED: grpc.StatusCode.PERMISSION_DENIED,
    Reason.PLAYER_NOT_FOUND: grpc.StatusCode.NOT_FOUND,
    Reason.BOARD_NOT_FOUND: grpc.StatusCode.NOT_FOUND,
    Reason.ACTION_NOT_FOUND: grpc.StatusCode.NOT_FOUND,
    Reason.FLAG_NOT_FOUND: grpc.StatusCode.NOT_FOUND,
    Reason.CURSOR_EXPIRED: grpc.StatusCode.FAILED_PRECONDITION,
    Reason.RATE_LIMITED: grpc.StatusCode.RESOURCE_EXHAUSTED,
    Reason.USERNAME_TAKEN: grpc.StatusCode.ALREADY_EXISTS,
    Reason.CREDENTIALS_INVALID: grpc.StatusCode.UNAUTHENTICATED,
    Reason.DOCUMENT_TOO_COSTLY: grpc.StatusCode.RESOURCE_EXHAUSTED,
    Reason.UNAVAILABLE: grpc.StatusCode.UNAVAILABLE,
    Reason.INTERNAL: grpc.StatusCode.INTERNAL,
}

# A call that failed without a word of ours: the transport, a proxy, or a server that is not one of ours.
_WITHOUT_REASON: dict[grpc.StatusCode, tuple[Reason, str]] = {
    grpc.StatusCode.UNAVAILABLE: (Reason.UNAVAILABLE, _TIMES_OUT),
    grpc.StatusCode.DEADLINE_EXCEEDED: (Reason.UNAVAILABLE, _TIMES_OUT),
    grpc.StatusCode.CANCELLED: (Reason.UNAVAILABLE, _TIMES_OUT),
    grpc.StatusCode.UNAUTHENTICATED: (Reason.UNAUTHENTICATED, "the call carries no valid token"),
    grpc.StatusCode.PERMISSION_DENIED: (Reason.PERMISSION_DENIED, "the caller may not do this"),
    grpc.StatusCode.INVALID_ARGUMENT: (Reason.INVALID_ARGUMENT, "the request was refused"),
}


class ServiceError(Exception):
    """A refusal that the caller is told of.

    `message` is one sentence for people, `metadata` are facts for programs (text, published); `retry_after` says when
    to try again, `violations` name fields of the request and what is wrong with each.
    """

    def __init__(
        self,
        reason: Reason | str,
        message: str,
        *,
        retry_after: timedelta | None = None,
        violations: Iterable[tuple[str, str]] = (),
        **metadata: object,
    ) -> None:
        super().__init__(f"{reason}: {message}")
        self.reason = Reason(reason)
        self.message = message
        self.retry_after = retry_after
        self.violations = tuple(violations)
        self.metadata = {key: str(value)[:MAX_METADATA] for key, value in metadata.items()}

    @property
    def code(self) -> grpc.StatusCode:
        """The gRPC status of the reason."""
        return STATUS[self.reason]


def to_rpc_status(error: ServiceError) -> status_pb2.Status:
    """The error as `google.rpc.Status`: ErrorInfo always, RetryInfo and BadRequest where they apply."""
    number: int = error.code.value[0]
    status = status_pb2.Status(code=number, message=error.message[:MAX_MESSAGE])
    info = error_details_pb2.ErrorInfo(reason=error.reason, domain=DOMAIN, metadata=error.metadata)
    status.details.add().Pack(info)
    if error.retry_after is not None:
        delay = Duration()
        delay.FromTimedelta(error.retry_after)
        status.details.add().Pack(error_details_pb2.RetryInfo(retry_delay=delay))
    if error.violations:
        fields = [
            error_details_pb2.BadRequest.FieldViolation(field=field, description=description)
            for field, description in error.violations
        ]
        status.details.add().Pack(error_details_pb2.BadRequest(field_violations=fields))
    return status


def from_rpc_error(error: grpc.aio.AioRpcError) -> ServiceError:
    """What a failed call means to its caller.

    An error of ours comes back as it was raised. Of any other only the status is believed, never its text: UNAVAILABLE,
    DEADLINE_EXCEEDED and CANCELLED become UNAVAILABLE, an unknown one INTERNAL.
    """
    status = _status_of(error)
    if status is not None:
        found = _from_status(status)
        if found is not None:
            return found
    reason, message = _WITHOUT_REASON.get(error.code(), (Reason.INTERNAL, "a service that is needed failed"))
    return ServiceError(reason, message)


def _status_of(error: grpc.aio.AioRpcError) -> status_pb2.Status | None:
    for key, value in error.trailing_metadata() or ():
        if key == STATUS_KEY and isinstance(value, bytes):
            try:
                return status_pb2.Status.FromString(value)
            except DecodeError:
                return None
    return None


def _from_status(status: status_pb2.Status) -> ServiceError | None:
    info = error_details_pb2.ErrorInfo()
    retry = error_details_pb2.RetryInfo()
    bad = error_details_pb2.BadRequest()
    ours = False
    retry_after: timedelta | None = None
    for detail in status.details:
        if detail.Is(info.DESCRIPTOR) and detail.Unpack(info):
            ours = info.domain == DOMAIN and info.reason in Reason.__members__
        elif detail.Is(retry.DESCRIPTOR) and detail.Unpack(retry):
            retry_after = retry.retry_delay.ToTimedelta()
        elif detail.Is(bad.DESCRIPTOR):
            detail.Unpack(bad)
    if not ours:
        return None
    found = ServiceError(
        info.reason,
        status.message,
        retry_after=retry_after,
        violations=[(violation.field, violation.description) for violation in bad.field_violations],
    )
    found.metadata = dict(info.metadata)
    return found
