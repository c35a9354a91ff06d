"""`topten check` and `topten setup`, as an operator runs them by hand."""

from __future__ import annotations

import os
import re
import subprocess
from pathlib import Path

import pytest

from services.quiz.formats.topten import topten_json
from tests.deadline import deadline_seconds
from tests.factories import quiz_definition
from tests.servers import RunningStack, topten, unique


def run(*arguments: str, **environ: str) -> tuple[int, str]:
    done = subprocess.run(
        topten(*arguments),
        env={**os.environ, **environ},
        capture_output=True,
        text=True,
        timeout=deadline_seconds(),
        check=False,
    )
    return done.returncode, done.stdout + done.stderr


def _deleted(output: str) -> bool:
    """Whether the registered player was deleted."""
    return bool(re.search(r"registered (check-\w+)\n(?s:.*)deleted \1\n", output))


def test_check_sees_its_player_on_the_live_board(stack: RunningStack) -> None:
    code, output = run("check", "--url", stack.http)
    assert code == 0, output
    assert "on the live board after" in output
    assert _deleted(output)


def test_failed_check_deletes_its_player(stack: RunningStack, tmp_path: Path) -> None:
    unknown = tmp_path / "quiz.json"
    unknown.write_bytes(topten_json.write(quiz_definition(unique("no-such-quiz-"))))
    code, output = run("check", "--url", stack.http, "--quiz", str(unknown))
    assert (code, "has none of these quizzes" in output) == (1, True), output
    assert _deleted(output)


def test_check_names_the_faults_of_a_quiz_file(tmp_path: Path) -> None:
    broken = tmp_path / "quiz.json"
    broken.write_text('{"id": "quiz", "title": "Quiz"}')
    code, output = run("check", "--url", "http://127.0.0.1:9", "--quiz", str(broken))
    assert (code, "questions: is missing" in output) == (2, True), output


def test_check_of_an_unreachable_system_fails_with_a_reason() -> None:
    code, output = run("check", "--url", "http://127.0.0.1:9")
    assert code == 1
    assert "Nothing responds at 127.0.0.1:9" in output


def test_setup_of_a_running_system_changes_nothing(stack: RunningStack) -> None:
    stores = stack.endpoints["stores"]
    code, output = run("setup", TOPTEN_MONGO_URL=stores["mongo"], TOPTEN_NATS_URL=stores["nats"])
    assert code == 0, output
    assert run("check", "--url", stack.http)[0] == 0


@pytest.mark.parametrize("name", ["bootstrap-mongo", "found"])
def test_bootstrap_leaves_an_initiated_mongodb_as_it_is(stack: RunningStack, name: str) -> None:
    code, output = run(name, TOPTEN_MONGO_URL=stack.endpoints["stores"]["mongo"])
    assert code == 0, output
    assert "takes writes" in output
    assert ("is now `topten bootstrap-mongo`" in output) == (name == "found")
