"""What an account is. Pure: the caller passes the time."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import Final, NamedTuple
from urllib.parse import urlsplit

from services.countries import COUNTRIES

MAX_AVATAR_URL: Final = 512


class InvalidAccountError(ValueError):
    """A username, country or avatar that no account may have; `field` names which of them."""

    def __init__(self, field: str, message: str) -> None:
        super().__init__(message)
        self.field = field


class SetBy(StrEnum):
    """The authority that imposed a sanction, which decides who may lift it."""

    SERVICE = "service"
    MODERATOR = "moderator"
    ADMIN = "admin"

    def lifts(self, other: SetBy) -> bool:
        """True if this authority may lift what `other` imposed.

        A service lifts the blocks of services, a moderator also those of moderators, an admin all.
        """
        ranks = list(SetBy)
        return ranks.index(self) >= ranks.index(other)


@dataclass(frozen=True, slots=True)
class Sanction:
    """One block of an account, kept beside others; permanent without `expires_at`. `actor` is empty in old documents."""

    sanction_id: str
    reason: str
    actor: str
    set_by: SetBy
    blocked_at: datetime
    expires_at: datetime | None

    @property
    def is_automatic(self) -> bool:
        """True if a service imposed it, such as the fair-play rules, and no person."""
        return self.set_by is SetBy.SERVICE

    def is_over(self, now: datetime) -> bool:
        """True once the sanction has expired."""
        return self.expires_at is not None and self.expires_at <= now

    def strength(self) -> tuple[bool, float, float]:
        """Order sanctions: a permanent one before all others, then the one that ends last, then the earliest."""
        ends = 0.0 if self.expires_at is None else self.expires_at.timestamp()
        return self.expires_at is None, ends, -self.blocked_at.timestamp()


def strongest(sanctions: Iterable[Sanction]) -> Sanction | None:
    """Return the sanction that outlasts the others, None of none. If it is over, so are all."""
    return max(sanctions, key=Sanction.strength, default=None)


class ExternalId(NamedTuple):
    """The id of a player in another system, the `source` (see `services.runtime.auth.external_ids`)."""

    source: str
    value: str


@dataclass(frozen=True, slots=True)
class Profile:
    """The profile of a player as another system sent it. A country or avatar that is None stays as it is."""

    external_id: ExternalId
    username: str
    country: str | None
    avatar_url: str | None


@dataclass(frozen=True, slots=True)
class Account:
    """One account. `password_hash` is an encoded Argon2id digest; `version` counts the changes that boards depend on.

    The digest is empty for a player of another system, who has no password here but an `external_id`, unless an older
    version stored the account. `session_epoch` counts the events that ended all sessions: a session is valid only in the
    epoch in which the account was read to open it.

    A guest has neither a password nor a name of their own, and is one until `guest_until`, which only guests have.
    """

    user_id: str
    username: str
    password_hash: str
    roles: frozenset[str]
    country: str
    created_at: datetime
    version: int = 0
    sanctions: tuple[Sanction, ...] = ()
    session_epoch: int = 0
    external_id: ExternalId | None = None
    avatar_url: str = ""
    guest_until: datetime | None = None

    @property
    def is_guest(self) -> bool:
        """True for a guest, also after their end."""
        return self.guest_until is not None

    @property
    def block(self) -> Sanction | None:
        """The strongest sanction, which is the block that players, services and boards see; it may have expired."""
        return strongest(self.sanctions)

    def block_at(self, now: datetime) -> Sanction | None:
        """Return the strongest sanction in force."""
        return None if self.block is None or self.block.is_over(now) else self.block

    def sanctions_at(self, now: datetime) -> list[Sanction]:
        """Return the sanctions in force, strongest first."""
        in_force = (sanction for sanction in self.sanctions if not sanction.is_over(now))
        return sorted(in_force, key=Sanction.strength, reverse=True)


class Standing(NamedTuple):
    """What decides whether a player may act, and for which country."""

    country: str
    block: Sanction | None
    """The strongest sanction, which may have expired."""


def check_country(country: str) -> str:
    """Return `country` if it is empty or an assigned ISO 3166-1 alpha-2 code in capitals; raise InvalidAccountError."""
    if country and country not in COUNTRIES:
        raise InvalidAccountError("country", "Country must be an ISO 3166-1 alpha-2 code in capitals, such as VN.")
    return country


def check_avatar_url(url: str) -> str:
    """Return `url` if it is empty or an https address of printable ASCII, up to 512 characters; raise InvalidAccountError."""
    if url and not _is_https(url):
        message = (
            f"Avatar URL must be an https:// address of up to {MAX_AVATAR_URL} ASCII characters, without a password."
        )
        raise InvalidAccountError("avatar_url", message)
    return url


def _is_https(url: str) -> bool:
    try:
        parts = urlsplit(url)
        is_https = parts.scheme == "https" and bool(parts.hostname) and "@" not in parts.netloc and parts.port != 0
    except ValueError:
        return False
    return (
        is_https
        and len(url) <= MAX_AVATAR_URL
        and url.isascii()
        and url.isprintable()
        and not set(url) & set(' "<>\\^`{|}')
    )
