"""The use cases of players of other systems: a service's own players, and those of an outside issuer.

A player's id follows from the system and their id there, so both ways lead to one account. An erased player stays erased.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping, Sequence
from datetime import datetime
from enum import StrEnum
from typing import Final, NamedTuple

import structlog

from services.identity.accounts import Account, ExternalId, Profile
from services.identity.external_players.external_player_store import Creation, ExternalPlayerStore
from services.identity.moderation.changes import with_profile
from services.identity.moderation.service import Moderation
from services.identity.store import IdentityStore, username_taken
from services.identity.usernames import UsernameRules
from services.runtime.auth.claims import Claims
from services.runtime.auth.external_ids import player_id
from services.runtime.errors import Reason, ServiceError

# Calls that work at the same time; others wait, so that an import leaves the database to those who sign in.
MAX_CONCURRENT: Final = 4
_log = structlog.get_logger("external_players")


class Effect(StrEnum):
    """What ensuring a player did."""

    CREATED = "CREATED"
    UPDATED = "UPDATED"
    UNCHANGED = "UNCHANGED"


class Ensured(NamedTuple):
    """A player who has the profile now."""

    user_id: str
    effect: Effect


Outcome = Ensured | ServiceError


class ExternalPlayers:
    """Every method raises UNAVAILABLE if the database does not respond, and is safe to repeat."""

    def __init__(
        self,
        accounts: IdentityStore,
        players: ExternalPlayerStore,
        moderation: Moderation,
        usernames: UsernameRules,
        *,
        now: Callable[[], datetime],
    ) -> None:
        self._accounts = accounts
        self._players = players
        self._moderation = moderation
        self._usernames = usernames
        self._now = now
        self._places = asyncio.Semaphore(MAX_CONCURRENT)

    async def admit(self, claims: Claims) -> Account:
        """Return the account of an outside issuer's player, created if missing under a name like that in the token.

        Raises PLAYER_NOT_FOUND for an erased account.
        """
        user_id = claims.user_id
        for name in self._usernames.names_for(claims.username, user_id):
            existing = await self._accounts.account(user_id)
            if existing is not None:
                return existing
            account = self._account(user_id, name, ExternalId(claims.issuer, claims.external_id))
            (creation,) = await self._players.create([account], actor=user_id, at=account.created_at)
            if creation is Creation.CREATED:
                return account
            if creation is Creation.ERASED:
                raise _erased()
        raise ServiceError(Reason.UNAVAILABLE, "No free username was found for the player. Try again.")

    async def ensure(self, profiles: Sequence[Profile], *, actor: str) -> list[Outcome]:
        """Give each player their profile, and an account if they have none; return what became of each, in order.

        A refusal, with USERNAME_TAKEN or PLAYER_NOT_FOUND for an erased account, is the outcome of one player alone. Of
        several profiles of one player the last one holds.
        """
        outcomes: dict[int, Outcome] = {}
        async with self._places:
            while len(outcomes) < len(profiles):
                turn: dict[str, int] = {}
                for position, profile in enumerate(profiles):
                    if position not in outcomes:
                        turn.setdefault(player_id(*profile.external_id), position)
                settled = await self._settle({user_id: profiles[position] for user_id, position in turn.items()}, actor)
                outcomes |= {position: settled[user_id] for user_id, position in turn.items()}
        self._report([outcomes[position] for position in range(len(profiles))], actor)
        return [outcomes[position] for position in range(len(profiles))]

    async def _settle(self, profiles: Mapping[str, Profile], actor: str) -> dict[str, Outcome]:
        """Settle one profile of each player. Existing players go first: a name that one gives up is free then."""
        known = await self._accounts.accounts(list(profiles))
        outcomes = {each.user_id: await self._update(each, profiles[each.user_id], actor) for each in known}
        new = [
            self._account(user_id, each.username, each.external_id, each.country or "", each.avatar_url or "")
            for user_id, each in profiles.items()
            if user_id not in outcomes
        ]
        creations = await self._players.create(new, actor=actor, at=self._now()) if new else []
        for account, creation in zip(new, creations, strict=True):
            outcomes[account.user_id] = await self._created(account, creation, profiles[account.user_id], actor)
        return outcomes

    async def _created(self, account: Account, creation: Creation, profile: Profile, actor: str) -> Outcome:
        if creation is Creation.EXISTS:  # created at the same moment by another call, perhaps with another profile
            return await self._update(None, profile, actor)
        if creation is Creation.CREATED:
            return Ensured(account.user_id, Effect.CREATED)
        return _erased() if creation is Creation.ERASED else username_taken()

    async def _update(self, known: Account | None, profile: Profile, actor: str) -> Outcome:
        user_id = player_id(*profile.external_id)
        if known is not None and with_profile(known, profile) is None:
            return Ensured(user_id, Effect.UNCHANGED)
        try:
            changed = await self._moderation.set_profile(user_id, profile, actor=actor)
        except ServiceError as error:
            if error.reason is Reason.PLAYER_NOT_FOUND:
                return _erased()
            if error.reason is Reason.USERNAME_TAKEN:
                return error
            raise
        return Ensured(user_id, Effect.UPDATED if changed else Effect.UNCHANGED)

    def _account(
        self, user_id: str, username: str, external_id: ExternalId, country: str = "", avatar_url: str = ""
    ) -> Account:
        return Account(
            user_id=user_id,
            username=username,
            password_hash="",
            roles=frozenset({"player"}),
            country=country,
            created_at=self._now(),
            external_id=external_id,
            avatar_url=avatar_url,
        )

    def _report(self, outcomes: Sequence[Outcome], actor: str) -> None:
        effects = [each.effect for each in outcomes if isinstance(each, Ensured)]
        counts = {effect.lower(): effects.count(effect) for effect in Effect}
        _log.info("players ensured", actor=actor, **counts, refused=len(outcomes) - len(effects))


def _erased() -> ServiceError:
    return ServiceError(Reason.PLAYER_NOT_FOUND, "The account was deleted.")
