"""Accounts, their sanctions and changes as messages, as far as the caller may see them."""

from __future__ import annotations

from datetime import datetime
from typing import Final

from google.protobuf.timestamp_pb2 import Timestamp
from topten.identity.v1 import identity_pb2
from topten.identity.v1 import identity_service_pb2 as messages

from services.identity.accounts import Account, Sanction, SetBy
from services.identity.moderation.changes import Change
from services.runtime.auth.access import STAFF
from services.runtime.grpc.call_context import caller

_SEES_ALL: Final = STAFF | {"account:read", "account:block"}


def user_for_caller(account: Account, now: datetime) -> identity_pb2.User:
    """Return the account as the caller of the current call may see it."""
    claims = caller()
    is_staff = claims.may(_SEES_ALL)
    sees_all = claims.user_id == account.user_id or is_staff
    user = user_message(account, sees_roles=sees_all)
    if sees_all:
        add_block(user, account, now)
    if is_staff:
        user.sanctions.extend(map(sanction_message, account.sanctions_at(now)))
    return user


def add_block(user: identity_pb2.User, account: Account, now: datetime) -> None:
    """Add the strongest sanction in force to the account's message."""
    block = account.block_at(now)
    if block is not None:
        user.block.MergeFrom(block_message(block))


def block_message(sanction: Sanction) -> identity_pb2.Block:
    """Return a sanction as the block that a player is told of."""
    message = identity_pb2.Block(reason=sanction.reason)
    message.blocked_at.FromDatetime(sanction.blocked_at)
    if sanction.expires_at is not None:
        message.expires_at.FromDatetime(sanction.expires_at)
    return message


def sanction_message(sanction: Sanction) -> identity_pb2.Sanction:
    """Return a sanction."""
    message = identity_pb2.Sanction(
        sanction_id=sanction.sanction_id,
        reason=sanction.reason,
        actor=sanction.actor,
        automatic=sanction.is_automatic,
        admin_only=sanction.set_by is SetBy.ADMIN,
    )
    message.blocked_at.FromDatetime(sanction.blocked_at)
    if sanction.expires_at is not None:
        message.expires_at.FromDatetime(sanction.expires_at)
    return message


def user_message(account: Account, *, sees_roles: bool) -> identity_pb2.User:
    """Return an account without its block."""
    created_at = Timestamp()
    created_at.FromDatetime(account.created_at)
    user = identity_pb2.User(
        user_id=account.user_id,
        username=account.username,
        roles=sorted(account.roles) if sees_roles else [],
        country=account.country,
        created_at=created_at,
        avatar_url=account.avatar_url,
    )
    if account.guest_until is not None:
        user.guest_until.FromDatetime(account.guest_until)
    return user


def change_message(change: Change) -> messages.AccountChange:
    """Return a change of an account."""
    message = messages.AccountChange(
        kind=change.kind,
        reason=change.reason,
        actor=change.actor,
        change_id=change.event_id,
        former_username=change.former_username,
    )
    message.changed_at.FromDatetime(change.at)
    return message
