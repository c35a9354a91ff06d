"""What a caller is told of a store that does not answer."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from services.runtime.errors import Reason, ServiceError
from services.score.answers import STORE_ERRORS
from services.score.reports import BoardsLostError


@asynccontextmanager
async def available() -> AsyncIterator[None]:
    """Raises UNAVAILABLE where a store did not answer; whether something was done is then unknown."""
    try:
        yield
    except STORE_ERRORS as error:
        raise ServiceError(Reason.UNAVAILABLE, "a store does not answer at this moment") from error
    except BoardsLostError as error:
        raise ServiceError(Reason.UNAVAILABLE, "the boards were lost while they were made") from error
