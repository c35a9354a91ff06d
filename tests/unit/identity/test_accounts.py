"""Names: what an account may be called, and when two names are the same."""

import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.identity.accounts import (
    COUNTRIES,
    InvalidAccountError,
    check_country,
    normalise_username,
    username_key,
)


@pytest.mark.parametrize("name", ["ada", "Nguyễn", "李小龍", "x-1", "a.b_c", "Ωmega", "٣٤", "a" * 32])
def test_ordinary_names_are_kept(name: str) -> None:
    assert normalise_username(name) == unicodedata.normalize("NFKC", name)


@pytest.mark.parametrize(
    "name",
    [
        "a",
        "a" * 33,
        "two words",
        "line\nbreak",
        "nul\0l",
        "\u202eevil",
        "zero\u200bwidth",
        "<b>",
        "-dash",
        "dot.",
        "1\u0301",
        "\u0301a",
        "emoji🎲",
        "sep\u2028x",
    ],
)
def test_names_that_could_deceive_are_refused(name: str) -> None:
    with pytest.raises(InvalidAccountError) as caught:
        normalise_username(name)
    assert caught.value.field == "username"


def test_compatibility_forms_and_case_are_one_name() -> None:
    assert username_key("Ｔｅｓｔ") == username_key("test") == username_key("TEST")
    assert username_key("Straße") == username_key("STRASSE")


@given(st.text(max_size=64))
def test_every_text_has_a_key_and_accepted_names_keep_theirs(text: str) -> None:
    key = username_key(text)
    try:
        name = normalise_username(text)
    except InvalidAccountError:
        return
    assert username_key(name) == key
    assert normalise_username(name) == name
    assert not any(unicodedata.category(character)[0] in "CZ" for character in name)


def test_countries_are_assigned_codes() -> None:
    assert len(COUNTRIES) == 249
    assert check_country("VN") == "VN"
    assert check_country("") == ""
    for code in ("vn", "XX", "EU", "VNM"):
        with pytest.raises(InvalidAccountError):
            check_country(code)
