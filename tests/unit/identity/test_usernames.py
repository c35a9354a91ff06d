"""Names: what an account may be called, and when two names are the same or look so."""

import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.identity.accounts import InvalidAccountError
from services.identity.usernames import normalise_username, username_key, username_skeleton


@pytest.mark.parametrize(
    "name", ["ada", "Nguyễn", "李小龍", "x-1", "a.b_c", "Ωμέγα", "Ольга2", "٣٤", "a" * 32, "カタカナ漢字x", "김치1"]
)
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
        "zero\u200djoin",
        "bom\ufeffx",
        "soft\u00adhy",
        "iso\u2066late",
        "fill\u3164er",
        "filler\u1160",
        "vari\ufe0fant",
        "join\u034fer",
        "e\u0301\u0302\u0303\u0304\u0305zalgo",
        "pаypal",
        "Ωmega",
        "аdmin",
        "ⲁdmin",
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


@pytest.mark.parametrize(
    ("name", "alike"),
    [
        ("ada", "аԁа"),
        ("scope", "ѕсоре"),
        ("Adal", "AdaI"),
        ("ada1", "adal"),
        ("b0b", "bob"),
        ("B0B", "bob"),
        ("morn", "mom"),
        ("ada", "ADA"),
        ("é-a", "e\u0301-a"),
    ],
)
def test_names_that_look_alike_have_one_skeleton(name: str, alike: str) -> None:
    assert username_skeleton(name) == username_skeleton(alike)


@pytest.mark.parametrize(
    ("name", "other"), [("ada", "adb"), ("player-1", "player-2"), ("李小龍", "李小龙"), ("e", "é")]
)
def test_names_that_can_be_told_apart_have_two(name: str, other: str) -> None:
    assert username_skeleton(name) != username_skeleton(other)
