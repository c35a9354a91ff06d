"""`topten check` and `topten setup`, as an operator runs them by hand."""

from __future__ import annotations

import json
import os
import re
import subprocess
from pathlib import Path

from tests.servers import RunningStack, topten, unique


def run(*arguments: str, **environ: str) -> tuple[int, str]:
    done = subprocess.run(
        topten(*arguments), env={**os.environ, **environ}, capture_output=True, text=True, timeout=90, check=False
    )
    return done.returncode, done.stdout + done.stderr


def _deleted(said: str) -> bool:
    """Whether the player whom it registered is gone at the end."""
    return bool(re.search(r"registered (check-\w+)\n(?s:.*)deleted \1\n", said))


def test_a_check_sees_its_player_on_the_live_board(stack: RunningStack) -> None:
    code, said = run("check", "--url", stack.http)
    assert code == 0, said
    assert "on the live board after" in said
    assert _deleted(said)


def test_a_check_that_fails_leaves_no_player_behind_either(stack: RunningStack, tmp_path: Path) -> None:
    unknown = tmp_path / "quiz.json"
    unknown.write_text(json.dumps({"id": unique("no-such-quiz-")}))
    code, said = run("check", "--url", stack.http, "--quiz", str(unknown))
    assert (code, "none of the quizzes is there" in said) == (1, True), said
    assert _deleted(said)


def test_a_check_says_where_nothing_answers() -> None:
    code, said = run("check", "--url", "http://127.0.0.1:9")
    assert code == 1
    assert "does not answer" in said


def test_a_setup_changes_nothing_of_a_system_that_runs(stack: RunningStack) -> None:
    stores = stack.endpoints["stores"]
    code, said = run("setup", TOPTEN_MONGO_URL=stores["mongo"], TOPTEN_NATS_URL=stores["nats"])
    assert code == 0, said
    assert run("check", "--url", stack.http)[0] == 0


def test_what_is_there_already_is_not_founded_again(stack: RunningStack) -> None:
    code, said = run("found", TOPTEN_MONGO_URL=stack.endpoints["stores"]["mongo"])
    assert code == 0, said
    assert "takes writes" in said
