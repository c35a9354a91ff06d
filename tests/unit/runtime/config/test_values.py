"""The grammar of settings."""

from __future__ import annotations

from datetime import timedelta
from typing import Literal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.runtime.config.values import (
    format_duration,
    format_value,
    grpc_target,
    host_port,
    parse_duration,
    parse_value,
    split_address,
    type_name,
)


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("500ms", timedelta(milliseconds=500)),
        ("10s", timedelta(seconds=10)),
        ("10m", timedelta(minutes=10)),
        ("1h30m", timedelta(hours=1, minutes=30)),
        ("30d", timedelta(days=30)),
        ("0", timedelta()),
        ("0s", timedelta()),
        ("1s500ms", timedelta(seconds=1.5)),
    ],
)
def test_durations_are_read(text: str, value: timedelta) -> None:
    assert parse_duration(text) == value


@pytest.mark.parametrize("text", ["", "10", "s", "-1s", "1.5s", "1 s", "10S", "1h 30m", "10s\n", "٣s", "9" * 30 + "s"])
def test_malformed_durations_are_refused(text: str) -> None:
    with pytest.raises(ValueError, match="duration"):
        parse_duration(text)


def test_a_duration_beyond_the_calendar_is_refused() -> None:
    with pytest.raises(ValueError, match="too long"):
        parse_duration("999999999d999999999d")


@given(st.integers(0, 10**12).map(lambda ms: timedelta(milliseconds=ms)))
def test_a_duration_is_read_back_from_its_text(value: timedelta) -> None:
    assert parse_duration(format_duration(value)) == value


@pytest.mark.parametrize(
    ("text", "hint", "value"),
    [
        ("7", int, 7),
        ("-7", int, -7),
        ("0.5", float, 0.5),
        ("true", bool, True),
        ("OFF", bool, False),
        ("a, b,,c ", tuple[str, ...], ("a", "b", "c")),
        ("", tuple[str, ...], ()),
        ("json", Literal["text", "json"], "json"),
        ("", int | None, None),
        ("5", int | None, 5),
        ("", str, ""),
    ],
)
def test_a_value_is_parsed_by_its_type(text: str, hint: object, value: object) -> None:
    assert parse_value(text, hint) == value
    assert parse_value(format_value(value), hint) == value


@pytest.mark.parametrize(
    ("text", "hint"),
    [
        ("seven", int),
        ("1_000", int),
        ("", int),
        ("1" * 19, int),
        ("nan", float),
        ("inf", float),
        ("maybe", bool),
        ("xml", Literal["text", "json"]),
    ],
)
def test_a_wrong_value_is_refused(text: str, hint: object) -> None:
    with pytest.raises(ValueError, match="must be"):
        parse_value(text, hint)


def test_an_unsupported_type_is_a_type_error() -> None:
    with pytest.raises(TypeError, match="parse="):
        parse_value("x", dict)


@pytest.mark.parametrize(
    ("text", "pair"),
    [("127.0.0.1:0", ("127.0.0.1", 0)), ("db:65535", ("db", 65535)), ("[::1]:8080", ("::1", 8080))],
)
def test_addresses_are_split(text: str, pair: tuple[str, int]) -> None:
    assert split_address(text) == pair
    assert host_port(text) == text


@pytest.mark.parametrize("text", ["", "db", ":80", "db:", "db:65536", "db:-1", "::1:80", "db:8o", "db:٨٠"])
def test_what_is_no_address_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="host:port"):
        host_port(text)


@pytest.mark.parametrize("text", ["quiz:50052", "dns:///topten-quiz:50052", "dns:///10.0.0.7:1"])
def test_a_grpc_target_may_be_a_dns_name(text: str) -> None:
    assert grpc_target(text) == text


@pytest.mark.parametrize("text", ["dns:///", "dns:///quiz", "unix:///tmp/x", "dns://quiz:1"])
def test_malformed_grpc_targets_are_refused(text: str) -> None:
    with pytest.raises(ValueError, match="host:port"):
        grpc_target(text)


def test_types_have_names_for_people() -> None:
    hints = (str, int, float, bool, timedelta, tuple[str, ...], Literal["a", "b"], int | None)
    assert [type_name(hint) for hint in hints] == [
        "text", "int", "float", "bool", "duration", "comma list", "a | b", "int or empty",
    ]  # fmt: skip
