"""What a consumer answers to an event, chosen by the class of the error, here and nowhere else.

    nothing raised    done              ack
    AGAIN             a store is away   keep the batch, mark it in progress, try the whole of it again
    LATER             not at present    nak with a delay
    NEVER             it can't be       dead letter, then term

Anything else is a fault of the program: it is not answered, and the process ends.
"""

from __future__ import annotations

from enum import Enum

import orjson
from bson.errors import BSONError
from nats.errors import Error as NatsError
from pymongo.errors import DocumentTooLarge, PyMongoError

from services.runtime.redis_client import REDIS_ERRORS


class LaterError(RuntimeError):
    """One of the events can't be counted at present. Nothing of it is in the ledger that wasn't before."""


class NeverError(ValueError):
    """One of the events can't be counted, now or later. The text is the reason, for people; it holds nothing personal."""


class Answer(Enum):
    """What to do with events whose batch raised."""

    AGAIN = "again"
    LATER = "later"
    NEVER = "never"


# What a store or the way to it raises; the outcome of a write is unknown then.
STORE_ERRORS = (PyMongoError, NatsError, *REDIS_ERRORS)
# The first that fits counts: a document that is too large is an error of the driver's, but the event's fault.
_BY_CLASS: tuple[tuple[type[Exception], Answer], ...] = (
    (LaterError, Answer.LATER),
    (NeverError, Answer.NEVER),
    (DocumentTooLarge, Answer.NEVER),
    (BSONError, Answer.NEVER),
    (orjson.JSONEncodeError, Answer.NEVER),
    *((kind, Answer.AGAIN) for kind in STORE_ERRORS),
    (ValueError, Answer.NEVER),
    (OverflowError, Answer.NEVER),
)


ANSWERED = tuple(kind for kind, _ in _BY_CLASS)


def answer_to(error: Exception) -> Answer:
    """What `error`, one of the classes `ANSWERED`, means for the events that were being counted.

    Raises it again if it is none of them: that is a fault of the program.
    """
    for kind, answer in _BY_CLASS:
        if isinstance(error, kind):
            return answer
    raise error
