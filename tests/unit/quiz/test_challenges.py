"""Challenges of rooms, pure: what is taken as a solution, and what is refused."""

from __future__ import annotations

from base64 import b64decode, b64encode
from datetime import UTC, datetime, timedelta
from typing import Any

import orjson
import pytest
from altcha import v1 as altcha
from hypothesis import given
from hypothesis import strategies as st

from services.quiz.rooms.seats.challenge import LIFE, SolutionError, new_challenge, new_key, verified
from tests.unit.quiz.rooms.room_table import solution_of

HASHES = 50
MOMENTS = st.datetimes(datetime(2020, 1, 1), datetime(2100, 1, 1), timezones=st.just(UTC))  # noqa: DTZ001  # by the argument
JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**63), 2**63 - 1) | st.floats(allow_nan=False) | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=9), inner, max_size=3),
    max_leaves=5,
)


def changed(solution: str, **fields: Any) -> str:
    return b64encode(orjson.dumps(orjson.loads(b64decode(solution)) | fields)).decode()


def payload_of(challenge: altcha.Challenge) -> str:
    solution = altcha.solve_challenge(challenge)
    assert solution is not None
    fields = challenge.algorithm, challenge.challenge, solution.number, challenge.salt, challenge.signature
    return altcha.Payload(*fields).to_base64()


def refusal(key: bytes, solution: str, now: datetime) -> str:
    with pytest.raises(SolutionError) as refused:
        verified(key, solution, now)
    return str(refused.value)


@given(now=MOMENTS, later=st.timedeltas(timedelta(0), LIFE - timedelta(seconds=1)))
def test_a_solution_is_taken_until_its_challenge_expires_and_by_its_room_alone(now: datetime, later: timedelta) -> None:
    key = new_key()
    challenge = new_challenge(key, HASHES, now)
    solution = solution_of(challenge)
    found = verified(key, solution, now + later)
    assert found == (challenge.challenge, challenge.expires_at)
    assert now + LIFE - timedelta(seconds=1) < challenge.expires_at <= now + LIFE
    assert "expired" in refusal(key, solution, challenge.expires_at)
    assert "solves no challenge" in refusal(new_key(), solution, now)


@given(number=st.integers(-(2**63), 2**63 - 1), junk=JSON)
def test_nothing_but_the_solution_of_a_signed_challenge_is_taken(number: int, junk: Any) -> None:
    key, now = new_key(), datetime(2026, 1, 1, tzinfo=UTC)
    made = new_challenge(key, HASHES, now)
    solution = solution_of(made)
    right = orjson.loads(b64decode(solution))["number"]
    wrong = number if number != right else right + 1
    refusal(key, changed(solution, number=wrong), now)
    own = new_challenge(new_key(), HASHES, now)
    for field in ("challenge", "salt", "signature"):
        refusal(key, changed(solution, **{field: getattr(own, field)}), now)
        refusal(key, changed(solution, **{field: junk}), now)
    # A later expiry, an earlier digit of the number moved into the salt, and another algorithm.
    refusal(key, changed(solution, salt=made.salt.replace("expires=", "expires=9")), now)
    refusal(key, changed(solution, salt=f"{made.salt}1", number=right), now)
    refusal(key, changed(solution, algorithm="SHA-1"), now)
    refusal(key, changed(solution, number=junk if junk != right or isinstance(junk, bool | float) else wrong), now)
    refusal(key, b64encode(orjson.dumps(junk)).decode(), now)
    assert "missing" in refusal(key, "", now)


@given(now=MOMENTS)
def test_another_implementation_agrees(now: datetime) -> None:
    """The library of Altcha solves and takes what is issued here, and its own challenges are taken with its solutions."""
    key = new_key()
    made = new_challenge(key, HASHES, now)
    theirs = altcha.Challenge("SHA-256", made.challenge, made.max_number, made.salt, made.signature)
    assert altcha.verify_solution(payload_of(theirs), key, check_expires=False) == (True, None)
    assert altcha.verify_solution(solution_of(made), key, check_expires=False) == (True, None)
    assert verified(key, payload_of(theirs), now).challenge == made.challenge
    issued = altcha.create_challenge(altcha.ChallengeOptions(max_number=HASHES, hmac_key=key, expires=now + LIFE))
    assert verified(key, payload_of(issued), now).challenge == issued.challenge


@given(text=st.text(max_size=100))
def test_text_that_is_no_solution_is_refused(text: str) -> None:
    refusal(new_key(), text, datetime(2026, 1, 1, tzinfo=UTC))
