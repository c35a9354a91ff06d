"""The one exception that crosses a process boundary, and the one table from its reason to a gRPC status.

Owns `ServiceError` and its translations to `google.rpc.Status` and from a failed call. Must never carry internals: no
exception text, no address, no stack. Callers see the reason, the message and the metadata.
"""

from __future__ import annotations

from collections.abc import Iterable
from datetime import timedelta
from enum import StrEnum

import grpc
from google.protobuf.duration_pb2 import Duration
from google.protobuf.message import DecodeError
from google.rpc import error_details_pb2, status_pb2

from services.runtime.texts import clipped

DOMAIN = "topten"
STATUS_KEY = "grpc-status-details-bin"
# An error travels in the trailers of its call, which are commonly limited to 8 KiB.
MAX_MESSAGE = 500
MAX_METADATA = 500  # the reason of a block, whole
RETRY_AFTER = timedelta(seconds=1)
_NO_RESPONSE = "A required service did not respond. Try again later."
_FAILED = "A required service failed."


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
    CLIENT_NOT_FOUND = "CLIENT_NOT_FOUND"
    CLIENT_EXISTS = "CLIENT_EXISTS"
    ACTION_TYPE_NOT_FOUND = "ACTION_TYPE_NOT_FOUND"
    ACTION_TYPE_CLOSED = "ACTION_TYPE_CLOSED"
    LIMIT_REACHED = "LIMIT_REACHED"
    BOARD_DEFINITION_INVALID = "BOARD_DEFINITION_INVALID"
    QUIZ_CHANGED = "QUIZ_CHANGED"
    WEBHOOK_NOT_FOUND = "WEBHOOK_NOT_FOUND"
    ROOM_NOT_FOUND = "ROOM_NOT_FOUND"
    ROOM_CLOSED = "ROOM_CLOSED"
    QUESTION_LOCKED = "QUESTION_LOCKED"
    NICKNAME_TAKEN = "NICKNAME_TAKEN"
    GROUP_NOT_FOUND = "GROUP_NOT_FOUND"
    ATTEMPT_REQUIRED = "ATTEMPT_REQUIRED"
    ATTEMPT_CLOSED = "ATTEMPT_CLOSED"
    ATTEMPT_TOO_SOON = "ATTEMPT_TOO_SOON"
    VERSION_CONFLICT = "VERSION_CONFLICT"


# Statuses that are the server's fault, not the caller's.
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
    Reason.CLIENT_NOT_FOUND: grpc.StatusCode.NOT_FOUND,
    Reason.CLIENT_EXISTS: grpc.StatusCode.ALREADY_EXISTS,
    Reason.ACTION_TYPE_NOT_FOUND: grpc.StatusCode.NOT_FOUND,
    Reason.ACTION_TYPE_CLOSED: grpc.StatusCode.FAILED_PRECONDITION,
    Reason.LIMIT_REACHED: grpc.StatusCode.FAILED_PRECONDITION,
    Reason.BOARD_DEFINITION_INVALID: grpc.StatusCode.INVALID_ARGUMENT,
    Reason.QUIZ_CHANGED: grpc.StatusCode.FAILED_PRECONDITION,
    Reason.WEBHOOK_NOT_FOUND: grpc.StatusCode.NOT_FOUND,
    Reason.ROOM_NOT_FOUND: grpc.StatusCode.NOT_FOUND,
    Reason.ROOM_CLOSED: grpc.StatusCode.FAILED_PRECONDITION,
    Reason.QUESTION_LOCKED: grpc.StatusCode.FAILED_PRECONDITION,
    Reason.NICKNAME_TAKEN: grpc.StatusCode.ALREADY_EXISTS,
    Reason.GROUP_NOT_FOUND: grpc.StatusCode.NOT_FOUND,
    Reason.ATTEMPT_REQUIRED: grpc.StatusCode.FAILED_PRECONDITION,
    Reason.ATTEMPT_CLOSED: grpc.StatusCode.FAILED_PRECONDITION,
    Reason.ATTEMPT_TOO_SOON: grpc.StatusCode.FAILED_PRECONDITION,
    Reason.VERSION_CONFLICT: grpc.StatusCode.ABORTED,
    Reason.CURSOR_EXPIRED: grpc.StatusCode.FAILED_PRECONDITION,
    Reason.RATE_LIMITED: grpc.StatusCode.RESOURCE_EXHAUSTED,
    Reason.USERNAME_TAKEN: grpc.StatusCode.ALREADY_EXISTS,
    Reason.CREDENTIALS_INVALID: grpc.StatusCode.UNAUTHENTICATED,
    Reason.DOCUMENT_TOO_COSTLY: grpc.StatusCode.RESOURCE_EXHAUSTED,
    Reason.UNAVAILABLE: grpc.StatusCode.UNAVAILABLE,
    Reason.INTERNAL: grpc.StatusCode.INTERNAL,
}

# Failures without an ErrorInfo of ours: from the transport, a proxy, or a foreign server.
_WITHOUT_REASON: dict[grpc.StatusCode, tuple[Reason, str]] = {
    grpc.StatusCode.UNAVAILABLE: (Reason.UNAVAILABLE, _NO_RESPONSE),
    grpc.StatusCode.DEADLINE_EXCEEDED: (Reason.UNAVAILABLE, _NO_RESPONSE),
    grpc.StatusCode.CANCELLED: (Reason.UNAVAILABLE, _NO_RESPONSE),
    grpc.StatusCode.UNAUTHENTICATED: (Reason.UNAUTHENTICATED, "The call has no valid access token."),
    grpc.StatusCode.PERMISSION_DENIED: (Reason.PERMISSION_DENIED, "You are not allowed to do this."),
    grpc.StatusCode.INVALID_ARGUMENT: (Reason.INVALID_ARGUMENT, "The request was refused as invalid."),
}


class ServiceError(Exception):
    """A refusal that is returned to the caller.

    `message` is for people; `metadata` are published facts for programs. `retry_after` is the time until a retry makes
    sense. `violations` are pairs of a field of the request and the problem with it. `call` is the failed call of this process
    that it comes from, such as `identity.GrantRole`; it is never sent to a caller.
    """

    call = ""

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


def invalid(field: str, problem: str, message: str = "") -> ServiceError:
    """Return the refusal of one field of a request.

    `problem` continues the field's name and has no full stop, such as `must be in the future`. The message is both of them
    unless another is given.
    """
    return ServiceError(Reason.INVALID_ARGUMENT, message or f"{field}: {problem}.", violations=[(field, problem)])


def late() -> ServiceError:
    """Return the refusal of a call whose deadline has passed."""
    return ServiceError(Reason.UNAVAILABLE, "The call did not finish within its deadline.", retry_after=RETRY_AFTER)


def to_rpc_status(error: ServiceError) -> status_pb2.Status:
    """The error as `google.rpc.Status`: ErrorInfo always, RetryInfo and BadRequest where they apply."""
    number: int = error.code.value[0]
    status = status_pb2.Status(code=number, message=clipped(error.message, MAX_MESSAGE))
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
    """The ServiceError of a failed call.

    An error of our own services comes back as it was raised. Of any other error only the status is used, never its text:
    UNAVAILABLE, DEADLINE_EXCEEDED and CANCELLED become UNAVAILABLE, an unknown status INTERNAL.
    """
    status = _status_of(error)
    ours = None if status is None else _from_status(status)
    if ours is not None:
        return ours
    reason, message = _WITHOUT_REASON.get(error.code(), (Reason.INTERNAL, _FAILED))
    return ServiceError(reason, message)


def from_rpc_status(status: status_pb2.Status) -> ServiceError:
    """The ServiceError of a status that one of our services returned; INTERNAL if it is not one of ours."""
    return _from_status(status) or ServiceError(Reason.INTERNAL, _FAILED)


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
    error = ServiceError(
        info.reason,
        status.message,
        retry_after=retry_after,
        violations=[(violation.field, violation.description) for violation in bad.field_violations],
    )
    error.metadata = dict(info.metadata)
    return error
