"""Accounts as documents of the collection `users`, in the current form and in those of older versions."""

from __future__ import annotations

import uuid
from collections.abc import Mapping
from typing import Any, Final

from services.identity.accounts import Account, ExternalId, Sanction, SetBy
from services.identity.usernames import username_key
from services.runtime.confusables import skeleton

Document = dict[str, Any]
# No name starts with a noncharacter, and none sorts behind it: the unique keys of guests stand behind all names.
BEHIND_NAMES: Final = "\U0010ffff"


def is_of_username(duplicate: Mapping[str, Any] | None) -> bool:
    """Whether the details of a duplicate key are of a username, and not of an id."""
    return bool(duplicate) and "_id" not in (duplicate or {}).get("keyPattern", {})


def username_fields(account: Account) -> Document:
    """Return a username as stored in a document of `users`: unique by its two other forms, but for that of a guest."""
    if account.is_guest:
        return {"username": account.username, "username_key": f"{BEHIND_NAMES}{account.user_id}"}
    return {
        "username": account.username,
        "username_key": username_key(account.username),
        "username_skeleton": skeleton(account.username),
    }


def profile_fields(account: Account) -> Document:
    """Return what only players of other systems have, as stored in a document of `users`."""
    if account.external_id is None:
        return {}
    return {"external_id": account.external_id._asdict(), "avatar_url": account.avatar_url}


def account_document(account: Account) -> Document:
    """Return a new account as stored in `users`."""
    return {
        "_id": account.user_id,
        **username_fields(account),
        "password_hash": account.password_hash,
        "roles": sorted(account.roles),
        "country": account.country,
        "created_at": account.created_at,
        **profile_fields(account),
    } | ({} if account.guest_until is None else {"guest_until": account.guest_until})


def account_of(document: Document) -> Account:
    """Return the account in a document of `users`."""
    external_id = document.get("external_id")
    return Account(
        user_id=document["_id"],
        username=document["username"],
        password_hash=document["password_hash"],
        roles=frozenset(document["roles"]),
        country=document["country"],
        created_at=document["created_at"],
        version=document.get("version", 0),
        sanctions=sanctions_of(document),
        session_epoch=document.get("session_epoch", 0),
        external_id=None if external_id is None else ExternalId(**external_id),
        avatar_url=document.get("avatar_url", ""),
        guest_until=document.get("guest_until"),
    )


def sanction_document(sanction: Sanction) -> Document:
    """Return a sanction as stored in a document of `users`."""
    document = {
        "id": sanction.sanction_id,
        "reason": sanction.reason,
        "actor": sanction.actor,
        "set_by": str(sanction.set_by),
        "blocked_at": sanction.blocked_at,
    }
    return document if sanction.expires_at is None else document | {"expires_at": sanction.expires_at}


def sanctions_of(document: Document) -> tuple[Sanction, ...]:
    """Return the sanctions of an account. A `block` without an id, of an older version, is a moderator's sanction."""
    block = document.get("block")
    if block is None:  # also if an older version has lifted it
        return ()
    stored = document.get("sanctions", [])
    if "id" not in block:
        stored = [*stored, block | {"id": _old_sanction_id(document["_id"], block)}]
    return tuple(
        Sanction(
            sanction_id=each["id"],
            reason=each["reason"],
            actor=each.get("actor", ""),
            set_by=SetBy(each.get("set_by", SetBy.MODERATOR)),
            blocked_at=each["blocked_at"],
            expires_at=each.get("expires_at"),
        )
        for each in stored
    )


def _old_sanction_id(user_id: str, block: Document) -> str:
    return str(uuid.uuid5(uuid.NAMESPACE_OID, f"{user_id} {block['blocked_at'].isoformat()}"))
