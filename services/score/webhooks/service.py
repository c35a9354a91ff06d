"""The use cases of webhooks: register, change, list, delete, rotate the secret, list and replay deliveries.

A service manages its own webhooks, an admin those of all owners. For other callers a webhook does not exist.
"""

from __future__ import annotations

from collections.abc import Callable, Collection
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Final

import structlog

from services.boards.catalog import Catalog
from services.boards.periods.closed import series_of
from services.runtime.auth.access import ADMIN
from services.runtime.errors import Reason, ServiceError, invalid
from services.runtime.page_tokens import invalid_page_token, page_token, read_page_token
from services.score.errors import store_errors_as_unavailable
from services.score.webhooks.addresses import url_fault
from services.score.webhooks.delivery_store import Delivery, DeliveryStore
from services.score.webhooks.signing import new_secret
from services.score.webhooks.webhook import MAX_TOP, OF_TOPS, READERS, Webhook, watched_series, webhook_id_of
from services.score.webhooks.webhook_store import MAX_WEBHOOKS, WebhookStore

if TYPE_CHECKING:
    from services.runtime.auth.claims import Claims

MAX_PER_OWNER: Final = 20
# Boards that one worker watches.
MAX_WATCHED: Final = 100
DEFAULT_PAGE: Final = 20
_log = structlog.get_logger("webhooks")


@dataclass(frozen=True, slots=True)
class Registration:
    """The fields of a webhook that its owner chooses."""

    name: str
    url: str
    kinds: frozenset[str]
    boards: frozenset[str]
    top: int


class Webhooks:
    """Webhooks and their deliveries. `catalog` returns the boards in force; `trusted` are hosts with any address."""

    def __init__(
        self,
        webhooks: WebhookStore,
        deliveries: DeliveryStore,
        catalog: Callable[[], Catalog],
        *,
        trusted: Collection[str],
        now: Callable[[], datetime],
    ) -> None:
        self._webhooks = webhooks
        self._deliveries = deliveries
        self._catalog = catalog
        self._trusted = trusted
        self._now = now

    async def put(self, wanted: Registration, caller: Claims) -> tuple[Webhook, str]:
        """Register a webhook or change the caller's one of this name; return it, and the secret of a new one.

        Raises INVALID_ARGUMENT, PERMISSION_DENIED for a kind that the caller may not read, LIMIT_REACHED, UNAVAILABLE.
        """
        self._check(wanted, caller)
        secret = new_secret()
        webhook = Webhook(
            webhook_id=webhook_id_of(caller.user_id, wanted.name),
            owner=caller.user_id,
            name=wanted.name,
            url=wanted.url,
            kinds=wanted.kinds,
            boards=wanted.boards,
            top=wanted.top or MAX_TOP,
            created_at=self._now(),
            secret=secret,
        )
        async with store_errors_as_unavailable():
            await self._refuse_too_many_tops(webhook)
            changed = await self._webhooks.change(webhook)
            if changed is None:
                await self._refuse_too_many(caller.user_id)
                if await self._webhooks.add(webhook):
                    _log.info(
                        "webhook registered",
                        webhook=webhook.webhook_id,
                        kinds=sorted(wanted.kinds),
                        actor=caller.user_id,
                    )
                    return webhook, secret
                changed = await self._webhooks.change(webhook)
        if changed is None:
            raise ServiceError(Reason.UNAVAILABLE, "The webhook was deleted during the call. Try again.")
        _log.info("webhook changed", webhook=webhook.webhook_id, kinds=sorted(wanted.kinds), actor=caller.user_id)
        return changed, ""

    async def all(self, caller: Claims) -> list[Webhook]:
        """Return the caller's webhooks by name; those of everybody for an admin. Raises UNAVAILABLE."""
        async with store_errors_as_unavailable():
            return await self._webhooks.all(None if caller.may(ADMIN) else caller.user_id)

    async def delete(self, webhook_id: str, caller: Claims) -> None:
        """Remove a webhook and its deliveries. Raises WEBHOOK_NOT_FOUND, UNAVAILABLE."""
        async with store_errors_as_unavailable():
            await self._owned(webhook_id, caller)
            await self._webhooks.remove(webhook_id)
            await self._deliveries.remove(webhook_id)
        _log.info("webhook deleted", webhook=webhook_id, actor=caller.user_id)

    async def rotate(self, webhook_id: str, keep_previous_for: timedelta, caller: Claims) -> tuple[Webhook, str]:
        """Replace the secret; return the webhook and the new one. Raises WEBHOOK_NOT_FOUND, UNAVAILABLE."""
        secret, now = new_secret(), self._now()
        async with store_errors_as_unavailable():
            await self._owned(webhook_id, caller)
            rotated = await self._webhooks.rotate(webhook_id, secret, previous_until=now + keep_previous_for, at=now)
        if rotated is None:
            raise _not_found()
        _log.info("webhook secret rotated", webhook=webhook_id, actor=caller.user_id)
        return rotated, secret

    async def deliveries(
        self, webhook_id: str, state: str | None, size: int, token: str, caller: Claims
    ) -> tuple[list[Delivery], str]:
        """Return a page of deliveries, newest first, and the token of the next page, empty if this is the last one.

        Raises WEBHOOK_NOT_FOUND, CURSOR_EXPIRED, INVALID_ARGUMENT, UNAVAILABLE.
        """
        size = size or DEFAULT_PAGE
        listing = f"deliveries:{webhook_id}"
        position = read_page_token(token, listing, str, str)
        after = None if position is None else (_time_of(position[0]), position[1])
        async with store_errors_as_unavailable():
            await self._owned(webhook_id, caller)
            found = await self._deliveries.page(webhook_id, size + 1, after, state)
        page = found[:size]
        if len(found) <= size:
            return page, ""
        return page, page_token(listing, page[-1].created_at.isoformat(), page[-1].delivery_id)

    async def replay(self, webhook_id: str, delivery_id: str, caller: Claims) -> int:
        """Attempt a finished delivery again, or every dead one if `delivery_id` is empty; return how many.

        Raises WEBHOOK_NOT_FOUND, UNAVAILABLE.
        """
        async with store_errors_as_unavailable():
            await self._owned(webhook_id, caller)
            if delivery_id and not await self._deliveries.exists(webhook_id, delivery_id):
                raise _not_found()
            replayed = await self._deliveries.replay(webhook_id, delivery_id, self._now())
        _log.info("deliveries replayed", webhook=webhook_id, deliveries=replayed, actor=caller.user_id)
        return replayed

    def _check(self, wanted: Registration, caller: Claims) -> None:
        if fault := url_fault(wanted.url, self._trusted):
            raise invalid("url", fault)
        for name in sorted(wanted.boards):
            if not self._is_series(name):
                fault = f"has {name!r}: name boards without a period, such as `weekly` or `custom:sprint`"
                raise invalid("boards", fault)
        if not wanted.boards and (kinds := sorted(OF_TOPS & wanted.kinds)):
            raise invalid("boards", f"must name the boards of `{kinds[0]}`")
        for kind in sorted(wanted.kinds):
            if not caller.may(READERS[kind]):
                scopes = " or ".join(sorted(READERS[kind] - ADMIN))
                raise ServiceError(Reason.PERMISSION_DENIED, f"Events of the kind {kind} need the scope {scopes}.")

    def _is_series(self, name: str) -> bool:
        """Return whether a board has this name whatever the period."""
        try:
            board = self._catalog().parse(name, self._now())
        except ValueError:
            return False
        # Boards of quizzes and countries have no period.
        return name == (board.name if board.kind in ("quiz", "country") else series_of(board))

    async def _refuse_too_many(self, owner: str) -> None:
        if len(await self._webhooks.all(owner)) >= MAX_PER_OWNER:
            message = f"One owner may have {MAX_PER_OWNER} webhooks. Delete one first."
            raise ServiceError(Reason.LIMIT_REACHED, message)
        if len(await self._webhooks.all()) >= MAX_WEBHOOKS:
            raise ServiceError(Reason.LIMIT_REACHED, f"There are {MAX_WEBHOOKS} webhooks: no more can be registered.")

    async def _refuse_too_many_tops(self, wanted: Webhook) -> None:
        others = [each for each in await self._webhooks.of_kinds(OF_TOPS) if each.webhook_id != wanted.webhook_id]
        if len(watched_series([*others, wanted])) > MAX_WATCHED and OF_TOPS & wanted.kinds:
            message = f"Webhooks may watch the tops of {MAX_WATCHED} boards in all: name fewer boards."
            raise ServiceError(Reason.LIMIT_REACHED, message)

    async def _owned(self, webhook_id: str, caller: Claims) -> Webhook:
        webhook = await self._webhooks.find(webhook_id)
        if webhook is None or not (caller.may(ADMIN) or webhook.owner == caller.user_id):
            raise _not_found()
        return webhook


def _time_of(text: str) -> datetime:
    try:
        return datetime.fromisoformat(text)
    except ValueError:
        raise invalid_page_token() from None


def _not_found() -> ServiceError:
    return ServiceError(Reason.WEBHOOK_NOT_FOUND, "No webhook of yours, or delivery of it, has this ID.")
