"""Errors of score, and how an unavailable store is reported to a gRPC caller."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from nats.errors import Error as NatsError
from pymongo.errors import PyMongoError

from services.runtime.errors import Reason, ServiceError
from services.runtime.stores.redis import REDIS_ERRORS
from services.runtime.stores.same_data import CollectionReplacedError

# Raised by a store's driver or its connection; the outcome of a write is then unknown.
STORE_ERRORS = (PyMongoError, NatsError, *REDIS_ERRORS)


class RetryableError(RuntimeError):
    """An event cannot be counted at present. The failed attempt added nothing to the ledger."""


class UnprocessableError(ValueError):
    """An event can never be counted. The text is the reason, for people, and contains no personal data."""


class ReplacedDataError(RuntimeError):
    """MongoDB holds other data than what this process wrote or read. Its caches are dropped; the attempt wrote nothing."""


class OtherSaltError(RuntimeError):
    """The data has another salt than this process, so that chains have other names in it. Nothing was written."""


class BoardsLostError(RuntimeError):
    """Redis lost boards, or another worker replaced them, while they were being built or copied."""


@asynccontextmanager
async def store_errors_as_unavailable() -> AsyncIterator[None]:
    """Raise UNAVAILABLE in place of a store's error. Whether a write happened is then unknown."""
    try:
        yield
    except STORE_ERRORS as error:
        raise ServiceError(Reason.UNAVAILABLE, "A store is not available. Try again.") from error
    except (ReplacedDataError, CollectionReplacedError) as error:
        raise ServiceError(Reason.UNAVAILABLE, "The data was replaced during the call. Try again.") from error
    except BoardsLostError as error:
        raise ServiceError(Reason.UNAVAILABLE, "The boards were lost during the rebuild. Try again.") from error
