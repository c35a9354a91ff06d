"""Passwords: one password whatever form a keyboard sends, and digests of earlier versions."""

from __future__ import annotations

import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.identity.passwords import Passwords, is_allowed, normalize_password

PASSWORDS = Passwords(memory_kib=1024, rounds=1)
NFC = "mật khẩu của tôi"
NFD = unicodedata.normalize("NFD", NFC)


async def test_password_matches_only_its_digest() -> None:
    digest = await PASSWORDS.digest("correct horse")
    assert digest.startswith("$argon2id$")
    assert await PASSWORDS.matches(digest, "correct horse")
    assert not await PASSWORDS.matches(digest, "wrong horse")
    assert not await PASSWORDS.matches(None, "correct horse")
    assert not await PASSWORDS.matches("garbage", "correct horse")


async def test_digest_of_other_parameters_is_outdated() -> None:
    digest = await PASSWORDS.digest("correct horse")
    assert not (await PASSWORDS.matches(digest, "correct horse")).is_outdated
    assert (await Passwords(memory_kib=2048, rounds=1).matches(digest, "correct horse")).is_outdated


async def test_forms_of_one_password_are_one_password() -> None:
    assert NFC != NFD
    for registered in (NFC, NFD):
        digest = await PASSWORDS.digest(registered)
        for sent in (NFC, NFD, NFC.replace(" ", "\u00a0"), NFD.replace(" ", "\u3000")):
            match = await PASSWORDS.matches(digest, sent)
            assert match.is_right
            assert not match.is_outdated
        assert not await PASSWORDS.matches(digest, NFC.upper())


async def test_digest_of_a_password_as_sent_matches_and_is_outdated() -> None:
    old = PASSWORDS._hasher.hash(NFD)
    match = await PASSWORDS.matches(old, NFD)
    assert match.is_right
    assert match.is_outdated
    assert not await PASSWORDS.matches(old, "mật khẩu khác")


@pytest.mark.parametrize(
    ("password", "allowed"),
    [("e\u0301" * 4, False), ("e\u0301" * 8, True), ("e\u0301" * 128, True), ("x" * 129, False), ("x" * 7, False)],
)
def test_bounds_hold_for_the_normal_form(password: str, *, allowed: bool) -> None:
    assert is_allowed(password) == allowed


@given(st.text(max_size=40))
def test_normal_form_is_stable(password: str) -> None:
    normal = normalize_password(password)
    assert normalize_password(normal) == normal
    assert normalize_password(unicodedata.normalize("NFD", password)) == normal
