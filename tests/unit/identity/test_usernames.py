"""Usernames: which are allowed, and which are the same or look alike."""

import unicodedata
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.identity.accounts import InvalidAccountError
from services.identity.usernames import RESERVED, UsernameRules, normalize_username, username_key
from services.runtime.confusables import skeleton


@pytest.mark.parametrize(
    "name", ["ada", "Nguyễn", "李小龍", "x-1", "a.b_c", "Ωμέγα", "Ольга2", "٣٤", "a" * 32, "カタカナ漢字x", "김치1"]
)
def test_ordinary_names_are_accepted(name: str) -> None:
    assert normalize_username(name) == unicodedata.normalize("NFKC", name)


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
def test_deceptive_names_are_refused(name: str) -> None:
    with pytest.raises(InvalidAccountError) as caught:
        normalize_username(name)
    assert caught.value.field == "username"


def test_case_and_compatibility_forms_are_the_same_name() -> None:
    assert username_key("Ｔｅｓｔ") == username_key("test") == username_key("TEST")
    assert username_key("Straße") == username_key("STRASSE")


@given(st.text(max_size=64))
def test_every_text_has_a_key_and_accepted_names_keep_theirs(text: str) -> None:
    key = username_key(text)
    try:
        name = normalize_username(text)
    except InvalidAccountError:
        return
    assert username_key(name) == key
    assert normalize_username(name) == name
    assert not any(unicodedata.category(character)[0] in "CZ" for character in name)


@pytest.mark.parametrize(
    ("name", "lookalike"),
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
def test_lookalike_names_have_the_same_skeleton(name: str, lookalike: str) -> None:
    assert skeleton(name) == skeleton(lookalike)


@pytest.mark.parametrize(
    ("name", "other"), [("ada", "adb"), ("player-1", "player-2"), ("李小龍", "李小龙"), ("e", "é")]
)
def test_distinguishable_names_have_different_skeletons(name: str, other: str) -> None:
    assert skeleton(name) != skeleton(other)


@given(
    st.sampled_from([*RESERVED, "Nguyễn", "İstanbul"]),
    st.sampled_from([str.lower, str.upper, str.title, str.swapcase]),
    st.sampled_from(["NFC", "NFD", "NFKC", "NFKD"]),
    st.sampled_from(["", ".", "_", "-"]),
)
def test_reserved_names_are_refused_in_every_form(name: str, case: Any, form: Any, joiner: str) -> None:
    rules = UsernameRules(["Nguyễn", "İstanbul"])
    with pytest.raises(InvalidAccountError):
        rules.accept(joiner.join(unicodedata.normalize("NFC", unicodedata.normalize(form, case(name)))))
    with pytest.raises(InvalidAccountError, match="reserved"):
        rules.accept(unicodedata.normalize(form, case(name)))


@pytest.mark.parametrize("name", ["ａｄｍｉｎ", "adrnin", "Adm1n", "admın", "t0pten", "a-d_m.i-n", "M0DERAT0R"])
def test_what_looks_like_a_reserved_name_is_refused(name: str) -> None:
    with pytest.raises(InvalidAccountError):
        UsernameRules().accept(name)


@pytest.mark.parametrize("name", ["admina", "administrator", "solar-system", "topten2", "mod"])
def test_a_name_that_only_contains_a_reserved_one_is_accepted(name: str) -> None:
    assert UsernameRules().accept(name) == name
