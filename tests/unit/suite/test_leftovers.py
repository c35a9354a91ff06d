"""The suite itself: what a test leaves behind is found, and what it starts behaves as in a terminal."""

from __future__ import annotations

import signal
import subprocess
import sys
import uuid
from pathlib import Path

import pytest

from tests.deadline import poll
from tests.leftovers import end_leftovers, leftovers

IGNORED = """
import signal
signals = (signal.SIGINT, signal.SIGHUP, signal.SIGQUIT)
print([number for number in signals if signal.getsignal(number) == signal.SIG_IGN])
"""
UNDER_NOHUP = f"""
import signal, subprocess, sys
from tests.leftovers import mark_children
for number in (signal.SIGINT, signal.SIGHUP, signal.SIGQUIT):
    signal.signal(number, signal.SIG_IGN)
mark_children()
subprocess.run([sys.executable, "-c", {IGNORED!r}], check=True)
"""

STARTS_A_CHILD = """
import subprocess, sys
from tests.leftovers import exit_on_sigterm
exit_on_sigterm()
child = subprocess.Popen(["sleep", "600"])
try:
    print(child.pid, flush=True)
    child.wait()
finally:
    child.kill()
    child.wait()
"""


def test_process_that_outlives_its_parent_is_named_and_ended() -> None:
    mark = uuid.uuid4().hex
    subprocess.run(["sh", "-c", f"exec -a {mark} sleep 600 &"], check=True, executable="/bin/bash")
    poll(lambda: any(mark in each.command for each in leftovers()), "the orphan runs")
    with pytest.raises(AssertionError, match=f"test_process_that_outlives_its_parent.*{mark}"):
        end_leftovers(each for each in leftovers() if mark in each.command)
    poll(lambda: not any(mark in each.command for each in leftovers()), "the orphan has ended")


def test_children_of_a_run_under_nohup_have_default_signal_dispositions() -> None:
    shown = subprocess.run([sys.executable, "-c", UNDER_NOHUP], check=True, capture_output=True, text=True).stdout
    assert shown.strip() == "[]"


def test_measurement_that_is_told_to_end_ends_what_it_started() -> None:
    with subprocess.Popen([sys.executable, "-c", STARTS_A_CHILD], stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        child = Path("/proc", process.stdout.readline().strip())
        process.terminate()
    assert process.returncode == 128 + signal.SIGTERM
    assert not child.exists()
