"""Settings: read purely, wrong ones named all at once, secrets never shown."""

from __future__ import annotations

import json
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Any, ClassVar

import pytest

from services.runtime.config.loading import (
    MASK,
    ConfigError,
    from_command_line,
    load,
    render,
    section,
    setting,
    table,
)
from services.runtime.config.settings import (
    AuthConfig,
    MongoConfig,
    NatsConfig,
    ProcessConfig,
    RedisConfig,
    UpstreamConfig,
)
from services.runtime.config.values import host_port


@dataclass(frozen=True, kw_only=True)
class SampleConfig:
    prefix: ClassVar[str] = "QUIZ"

    process: ProcessConfig = section(ProcessConfig)
    mongo: MongoConfig = section(MongoConfig)
    address: str = setting("127.0.0.1:50052", doc="Where it serves", parse=host_port)
    partitions: int = setting(4, doc="How many", minimum=1, maximum=256)
    window: timedelta = setting(timedelta(hours=1), doc="How far back")
    tags: tuple[str, ...] = setting((), doc="Which")
    limit: int | None = setting(None, doc="At most, or no limit", minimum=1)
    key: str = setting("", doc="What signs", secret=True)
    clients: Any = setting((), doc="Who may", secret=True, parse=json.loads)


@dataclass(frozen=True, kw_only=True)
class NeedyConfig:
    prefix: ClassVar[str] = "EDGE"

    process: ProcessConfig = section(ProcessConfig)
    origin: str = setting(doc="The public address")


def test_an_empty_environment_gives_the_defaults() -> None:
    assert load(SampleConfig, {}) == SampleConfig()
    assert SampleConfig().window == timedelta(hours=1)
    assert SampleConfig().mongo.database == "topten"


def test_values_come_from_the_given_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TOPTEN_QUIZ_PARTITIONS", "99")
    given = {
        "TOPTEN_QUIZ_PARTITIONS": "8",
        "TOPTEN_QUIZ_WINDOW": "90m",
        "TOPTEN_QUIZ_TAGS": "a, b",
        "TOPTEN_QUIZ_LIMIT": "",
        "TOPTEN_MONGO_DATABASE": "other",
        "TOPTEN_LOG_FORMAT": "json",
        "TOPTEN_QUIZ_CLIENTS": '{"edge": 1}',
        "PATH": "/bin",
    }
    config = load(SampleConfig, given)
    assert config.partitions == 8
    assert config.window == timedelta(minutes=90)
    assert config.tags == ("a", "b")
    assert config.limit is None
    assert config.mongo.database == "other"
    assert config.process.log_format == "json"
    assert config.clients == {"edge": 1}


def test_all_problems_are_reported_at_once() -> None:
    given = {
        "TOPTEN_QUIZ_PARTITIONS": "none",
        "TOPTEN_QUIZ_WINDOW": "1 hour",
        "TOPTEN_QUIZ_ADDRESS": "nowhere",
        "TOPTEN_MONGO_TIMEOUT": "1ms",
        "TOPTEN_LOG_LEVEL": "loud",
        "TOPTEN_QUIZ_TYPO": "1",
    }
    with pytest.raises(ConfigError) as caught:
        load(SampleConfig, given)
    assert sorted(problem.split(":")[0].split("=")[0] for problem in caught.value.problems) == sorted(given)
    assert "TOPTEN_MONGO_TIMEOUT='1ms': must be at least 100ms" in str(caught.value)


@pytest.mark.parametrize("value", ["0", "257"])
def test_bounds_are_inclusive(value: str) -> None:
    with pytest.raises(ConfigError, match="must be at"):
        load(SampleConfig, {"TOPTEN_QUIZ_PARTITIONS": value})
    for inside in ("1", "256"):
        assert load(SampleConfig, {"TOPTEN_QUIZ_PARTITIONS": inside}).partitions == int(inside)


def test_a_missing_required_setting_is_reported() -> None:
    with pytest.raises(ConfigError, match="TOPTEN_EDGE_ORIGIN: required"):
        load(NeedyConfig, {})
    assert load(NeedyConfig, {"TOPTEN_EDGE_ORIGIN": "https://x"}).origin == "https://x"


@pytest.mark.parametrize(
    "name", ["TOPTEN_QUIZ_PARTITION", "TOPTEN_MONGO_URI", "TOPTEN_QIUZ_ADDRESS", "TOPTEN_LOGLEVEL"]
)
def test_a_misspelled_variable_fails_the_start(name: str) -> None:
    with pytest.raises(ConfigError, match=f"{name}: unknown setting"):
        load(SampleConfig, {name: "x"})


@pytest.mark.parametrize(
    "name", ["TOPTEN_EDGE_HTTP_ADDRESS", "TOPTEN_SCORE_X", "TOPTEN_NATS_URL", "TOPTENQUIZ", "topten_x"]
)
def test_variables_of_other_processes_are_ignored(name: str) -> None:
    assert load(SampleConfig, {name: "x"}) == SampleConfig()


def test_a_secret_may_come_from_a_file(tmp_path: Path) -> None:
    path = tmp_path / "key"
    path.write_text("line one\nline two\n")
    assert load(SampleConfig, {"TOPTEN_QUIZ_KEY_FILE": str(path)}).key == "line one\nline two"


def test_only_a_secret_may_come_from_a_file(tmp_path: Path) -> None:
    path = tmp_path / "n"
    path.write_text("8")
    with pytest.raises(ConfigError, match="TOPTEN_QUIZ_PARTITIONS_FILE: unknown setting"):
        load(SampleConfig, {"TOPTEN_QUIZ_PARTITIONS_FILE": str(path)})


def test_a_secret_set_twice_or_unreadable_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "key"
    path.write_bytes(b"\xff\xfe")
    huge = tmp_path / "huge"
    huge.write_bytes(b"a" * 70_000)
    for environ, problem in [
        ({"TOPTEN_QUIZ_KEY": "a", "TOPTEN_QUIZ_KEY_FILE": str(path)}, "set twice"),
        ({"TOPTEN_QUIZ_KEY_FILE": str(tmp_path / "none")}, "No such file"),
        ({"TOPTEN_QUIZ_KEY_FILE": str(path)}, "not UTF-8"),
        ({"TOPTEN_QUIZ_KEY_FILE": str(huge)}, "longer than"),
    ]:
        with pytest.raises(ConfigError, match=problem):
            load(SampleConfig, environ)


def test_a_secret_is_never_printed() -> None:
    given = {
        "TOPTEN_QUIZ_KEY": "hunter2",
        "TOPTEN_MONGO_URL": "mongodb://user:hunter2@db/",
        "TOPTEN_QUIZ_CLIENTS": '["hunter2"]',
    }
    config = load(SampleConfig, given)
    assert "hunter2" not in render(config)
    assert "hunter2" not in repr(config)
    assert render(config).count(MASK) == 3
    with pytest.raises(ConfigError) as caught:
        load(SampleConfig, {"TOPTEN_QUIZ_CLIENTS": "{hunter2"})
    assert "hunter2" not in str(caught.value)
    assert MASK in str(caught.value)


def test_an_empty_secret_shows_as_empty() -> None:
    assert MASK not in next(line for line in render(SampleConfig()).splitlines() if line.startswith("TOPTEN_QUIZ_KEY"))


def test_the_table_documents_every_variable() -> None:
    rows = {row.name: row for row in table(SampleConfig)}
    assert rows["TOPTEN_QUIZ_WINDOW"].type == "duration"
    assert rows["TOPTEN_QUIZ_WINDOW"].default == "1h"
    assert rows["TOPTEN_MONGO_URL"].secret
    assert rows["TOPTEN_MONGO_URL"].default == MASK
    assert rows["TOPTEN_ENVIRONMENT"].type == "development | production"
    assert all(row.doc for row in rows.values())
    assert next(row for row in table(NeedyConfig) if row.name == "TOPTEN_EDGE_ORIGIN").default == ""


def test_shared_sections_have_the_same_names_everywhere() -> None:
    names = [
        row.name for cls in (MongoConfig, RedisConfig, NatsConfig, AuthConfig, UpstreamConfig) for row in table(cls)
    ]
    assert {name.split("_")[1] for name in names} == {"MONGO", "REDIS", "NATS", "AUTH", "UPSTREAM"}
    assert load(UpstreamConfig, {"TOPTEN_UPSTREAM_QUIZ": "quiz:1"}).quiz == "quiz:1"


def test_config_prints_the_settings_in_force_and_exits(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as left:
        from_command_line(SampleConfig, ["--config"], {"TOPTEN_QUIZ_KEY": "hunter2", "TOPTEN_QUIZ_PARTITIONS": "8"})
    printed = capsys.readouterr().out
    assert left.value.code == 0
    assert "hunter2" not in printed
    assert any(line.split()[:2] == ["TOPTEN_QUIZ_PARTITIONS", "8"] for line in printed.splitlines())


def test_a_wrong_configuration_exits_2(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as left:
        from_command_line(SampleConfig, [], {"TOPTEN_QUIZ_TYPO": "x"})
    assert left.value.code == 2
    assert "TOPTEN_QUIZ_TYPO: unknown setting" in capsys.readouterr().err


def test_a_valid_configuration_is_returned() -> None:
    assert from_command_line(SampleConfig, [], {"TOPTEN_QUIZ_PARTITIONS": "8"}).partitions == 8


def test_help_lists_every_variable(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as left:
        from_command_line(SampleConfig, ["--help"], {})
    printed = capsys.readouterr().out
    assert left.value.code == 0
    assert all(f"{row.name} " in printed and row.doc in printed for row in table(SampleConfig))
