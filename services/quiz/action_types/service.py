"""The use cases of action types: define, read, list, archive."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import datetime
from typing import TYPE_CHECKING, Final, NamedTuple

import structlog
from topten.action.v1 import action_pb2

from services.quiz.action_types.action_type import canonical, problems
from services.runtime.errors import Reason, ServiceError
from services.runtime.page_tokens import page_token, read_page_token

if TYPE_CHECKING:
    from services.quiz.action_types.store import ActionTypeStore, StoredVersion

DEFAULT_PAGE: Final = 50
LISTING: Final = "action types"
_log = structlog.get_logger("action_types")


class Page(NamedTuple):
    """A page of action types, the token of the list after each, and whether the list goes on."""

    action_types: Sequence[action_pb2.ActionType]
    cursors: Sequence[str]
    has_more: bool


class ActionTypeService:
    """Every change is kept with who made it and when."""

    def __init__(self, store: ActionTypeStore, *, now: Callable[[], datetime]) -> None:
        self._store = store
        self._now = now

    async def put(self, definition: action_pb2.ActionType, *, actor: str) -> tuple[int, bool]:
        """Store a definition; return its version, and whether it changed. Raises INVALID_ARGUMENT with every fault."""
        if faults := problems(definition):
            message = "; ".join(f"{field} {text}" for field, text in faults)
            raise ServiceError(Reason.INVALID_ARGUMENT, f"The action type is invalid: {message}.", violations=faults)
        version, changed = await self._store.put(canonical(definition), actor, self._now())
        if changed:
            _log.info("action type stored", action_type_id=definition.action_type_id, version=version, actor=actor)
        return version, changed

    async def versions(self, action_type_id: str) -> Sequence[StoredVersion]:
        """Return the last 100 versions of an action type, newest first. Raises ACTION_TYPE_NOT_FOUND."""
        versions = await self._store.versions(action_type_id)
        if not versions:
            raise ServiceError(Reason.ACTION_TYPE_NOT_FOUND, "No action type has this ID.")
        return versions

    async def page(self, limit: int, token: str) -> Page:
        """Return a page of action types by id; `limit` is 1 to 100, 0 is 50.

        Raises INVALID_ARGUMENT and CURSOR_EXPIRED for a wrong token.
        """
        (after,) = read_page_token(token, LISTING, str) or ("",)
        limit = limit or DEFAULT_PAGE
        found = await self._store.page(after, limit + 1)
        page = found[:limit]
        return Page(page, [page_token(LISTING, each.action_type_id) for each in page], len(found) > limit)

    async def archive(self, action_type_id: str, *, actor: str) -> tuple[int, bool]:
        """Close an action type; return its version, and whether it was open. Raises ACTION_TYPE_NOT_FOUND."""
        definition = (await self.versions(action_type_id))[0].definition
        definition.state = action_pb2.ActionType.ARCHIVED
        return await self.put(definition, actor=actor)
