"""Profiles of players of other systems, and what became of them, as messages."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

import protovalidate
from topten.identity.v1 import identity_pb2

from services.identity.accounts import ExternalId, InvalidAccountError, Profile, check_avatar_url, check_country
from services.identity.external_players.service import Ensured, Outcome
from services.identity.usernames import UsernameRules
from services.runtime.errors import ServiceError, invalid
from services.runtime.grpc import requests

_validator: Final = protovalidate.Validator()


def profile_of(message: identity_pb2.PlayerProfile, source: str, usernames: UsernameRules) -> Profile:
    """Return the profile that a source sent. Raises INVALID_ARGUMENT with the field."""
    requests.check(message, _validator)
    try:
        return Profile(
            external_id=ExternalId(source, message.external_id),
            username=usernames.accept(message.username),
            country=check_country(message.country) if message.HasField("country") else None,
            avatar_url=check_avatar_url(message.avatar_url) if message.HasField("avatar_url") else None,
        )
    except InvalidAccountError as error:
        raise invalid(error.field, str(error), str(error)) from None


def read_profiles(
    messages: Sequence[identity_pb2.PlayerProfile], source: str, usernames: UsernameRules
) -> tuple[dict[int, Profile], dict[int, Outcome]]:
    """Return the valid profiles and the refusals of the others, each by its position."""
    profiles: dict[int, Profile] = {}
    refusals: dict[int, Outcome] = {}
    for position, message in enumerate(messages):
        try:
            profiles[position] = profile_of(message, source, usernames)
        except ServiceError as error:
            refusals[position] = error
    return profiles, refusals


def result_of(outcome: Outcome) -> identity_pb2.EnsuredPlayer:
    """Return the result of one player."""
    if isinstance(outcome, Ensured):
        status = identity_pb2.EnsuredPlayer.Status.Value(outcome.effect)
        return identity_pb2.EnsuredPlayer(status=status, user_id=outcome.user_id)
    field = outcome.violations[0][0] if outcome.violations else outcome.metadata.get("field", "")
    return identity_pb2.EnsuredPlayer(
        status=identity_pb2.EnsuredPlayer.REFUSED, reason=outcome.reason, message=outcome.message, field=field
    )
