"""What a consumer does with a message after an attempt to count its event. The error's class decides, only here.

    nothing raised         ACK          acknowledge the message
    a store is away        (none)       hold the batch, mark it in progress, and count all of it again
    RetryableError         RETRY        nak with a delay
    the event's own error  DEAD_LETTER  store a dead letter, then terminate the message

Any other error is a defect of the program: the message is not acknowledged, and the process ends.
"""

from __future__ import annotations

from enum import Enum

import orjson
from bson.errors import BSONError
from pymongo.errors import DocumentTooLarge

from services.score.errors import STORE_ERRORS, RetryableError, UnprocessableError

# DocumentTooLarge is a driver's error, but caused by the event.
_EVENT_ERRORS = (UnprocessableError, DocumentTooLarge, BSONError, orjson.JSONEncodeError)
COUNTING_ERRORS = (RetryableError, *_EVENT_ERRORS, *STORE_ERRORS, ValueError, OverflowError)


class AckPolicy(Enum):
    """What to do with the message of an event."""

    ACK = "ack"
    RETRY = "retry"
    DEAD_LETTER = "dead letter"


def is_outage(error: Exception) -> bool:
    """Return whether a store caused the error, so that the same batch succeeds once the store is back."""
    return isinstance(error, STORE_ERRORS) and not isinstance(error, _EVENT_ERRORS)


def ack_policy(error: Exception | None) -> AckPolicy:
    """Return what to do after `error`, or after success if it is None.

    Raises the error again if it is an outage or none of COUNTING_ERRORS.
    """
    if error is None:
        return AckPolicy.ACK
    if isinstance(error, RetryableError):
        return AckPolicy.RETRY
    if isinstance(error, COUNTING_ERRORS) and not is_outage(error):
        return AckPolicy.DEAD_LETTER
    raise error
