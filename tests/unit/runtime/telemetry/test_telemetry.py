"""What stands in a log line, and what never does."""

from __future__ import annotations

import json
import logging
import re
import sys
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
import structlog
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from prometheus_client import REGISTRY

from services.runtime.clock import utc_now
from services.runtime.config.settings import ProcessConfig
from services.runtime.telemetry import logging as telemetry

Lines = Callable[[], list[str]]
SECRET = "hunter2-hunter2"
JWT = "eyJhbGciOiJFZERTQSJ9.eyJzdWIiOiJ1LTEifQ.c2lnbmF0dXJl"


@pytest.fixture
def lines(capfdbinary: pytest.CaptureFixture[bytes]) -> Iterator[Lines]:
    """What was logged since it was asked last; logging is left as it was found."""
    root = logging.getLogger()
    handlers, level = root.handlers[:], root.level
    yield lambda: capfdbinary.readouterr().err.decode().removesuffix("\n").split("\n")
    root.handlers[:] = handlers
    root.setLevel(level)


def log_as(log_format: Any, **changes: Any) -> Any:
    telemetry.configure(ProcessConfig(log_format=log_format, **changes), "sample")
    return structlog.get_logger()


def test_text_lines_are_readable(lines: Lines) -> None:
    log_as("text").info("opened", store="mongo", count=3, name="a b", empty="")
    (line,) = lines()
    assert re.fullmatch(r'\S+Z info    sample opened store=mongo count=3 name="a b" empty=""', line)


def test_json_lines_have_the_expected_fields(lines: Lines) -> None:
    structlog.contextvars.bind_contextvars(request_id="r-1")
    log_as("json").warning("opened", store="mongo", counts={1: 2}, kind=object)
    (line,) = lines()
    record = json.loads(line)
    assert list(record)[:4] == ["timestamp", "level", "service", "message"]
    assert record["message"] == "opened"
    assert (record["level"], record["service"], record["request_id"]) == ("warning", "sample", "r-1")
    assert record["counts"] == {"1": 2}
    assert record["timestamp"].endswith("Z")


@pytest.mark.parametrize("log_format", ["text", "json"])
@pytest.mark.parametrize(
    "fields",
    [
        {"password": SECRET},
        {"Authorization": f"Bearer {SECRET}"},
        {"access_token": SECRET},
        {"headers": {"Cookie": SECRET, "nested": [{"client_secret": SECRET}]}},
        {"detail": f"sent Bearer {SECRET} to it"},
        {"detail": f"basic {SECRET}"},
        {"detail": ("x", f"mongodb://user:{SECRET}@db:27017/")},
        {"error": ValueError(f"redis://:{SECRET}@db")},
        {"body": SECRET.encode()},
        {"deep": [[[[[[{"password": SECRET}]]]]]]},
    ],
)
def test_a_secret_is_never_written(lines: Lines, log_format: str, fields: dict[str, Any]) -> None:
    log_as(log_format).info("it happened", **fields)
    (line,) = lines()
    assert SECRET not in line
    assert "it happened" in line


@pytest.mark.parametrize("log_format", ["text", "json"])
def test_a_token_is_redacted_anywhere_in_a_line(lines: Lines, log_format: str) -> None:
    log = log_as(log_format)
    got = "got " + JWT
    log.info(got, detail=JWT)
    try:
        raise ValueError(f"bad token {JWT}")
    except ValueError:
        log.exception("failed")
    written = "\n".join(lines())
    assert "eyJ" not in written
    assert "ValueError: bad token [redacted]" in written


def test_harmless_fields_are_not_redacted(lines: Lines) -> None:
    log_as("json").info("spent", tokens_left=3, user_id="u-1", url="http://127.0.0.1:8080/x")
    record = json.loads(lines()[0])
    assert (record["tokens_left"], record["user_id"], record["url"]) == (3, "u-1", "http://127.0.0.1:8080/x")


# Surrogates and numbers beyond 64 bits are what a JSON encoder may refuse.
anything = (
    st.text(st.characters()) | st.text(st.characters(categories=["Cs", "Cc", "Zl"])) | st.integers() | st.binary()
)


@given(st.text(), anything)
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@pytest.mark.parametrize("log_format", ["text", "json"])
def test_no_value_can_add_a_line(lines: Lines, log_format: str, event: str, value: Any) -> None:
    log_as(log_format).info(event, value=value, inner=[value], pairs={value: value}, **{"k\nk": value})
    (line,) = lines()
    if log_format == "json":
        assert json.loads(line)["level"] == "info"
    else:
        assert line.isprintable()


def test_a_line_cannot_be_forged_by_a_message_of_an_exception(lines: Lines) -> None:
    log = log_as("text")
    try:
        raise ValueError("x\n2026-01-01T00:00:00Z info forged\r\x1b[2J\u2028y")
    except ValueError:
        log.exception("failed")
    first, *rest = lines()
    assert "error" in first
    assert rest
    assert all(line.startswith("  | ") for line in rest)
    assert not any("\x1b" in line or "\r" in line for line in rest)


@pytest.mark.parametrize("log_format", ["text", "json"])
def test_lines_of_libraries_have_the_same_format(lines: Lines, log_format: str) -> None:
    log_as(log_format)
    logging.getLogger("some.library").warning("lost %s", f"redis://:{SECRET}@db\nforged")
    (line,) = lines()
    assert "lost redis://[redacted]@db" in line
    assert "some.library" in line
    assert SECRET not in line


def test_a_traceback_of_a_library_is_kept(lines: Lines) -> None:
    log_as("json")
    try:
        raise ValueError("reason")
    except ValueError:
        logging.getLogger("some.library").exception("failed")
    assert "ValueError: reason" in json.loads(lines()[0])["exception"]


def test_a_custom_level_is_mapped_to_the_next_lower(lines: Lines) -> None:
    log_as("json")
    logging.getLogger("some.library").log(25, "notice")
    assert json.loads(lines()[0])["level"] == "info"


def test_records_below_the_level_are_dropped(lines: Lines) -> None:
    log = log_as("text", log_level="error")
    log.warning("not this")
    logging.getLogger("some.library").warning("nor this")
    log.error("but this")
    assert [line.split()[3:] for line in lines()] == [["but", "this"]]


def test_configuring_again_writes_no_line_twice(lines: Lines) -> None:
    log_as("text")
    log_as("text")
    logging.getLogger("some.library").warning("once")
    assert len(lines()) == 1


def test_the_build_is_a_metric(lines: Lines) -> None:
    log_as("text")
    labels = {"service": "sample", "version": telemetry.version(), "python": sys.version.split()[0]}
    assert REGISTRY.get_sample_value("topten_build_info", labels) == 1


def test_the_time_is_aware_and_whole_milliseconds() -> None:
    now = utc_now()
    assert now.utcoffset() == timedelta()
    assert now.microsecond % 1000 == 0
    assert abs(now - datetime.now(UTC)) < timedelta(minutes=1)
