"""Which code reads the clock of its process or device: all else is told MongoDB's time, which is the same for all."""

from __future__ import annotations

import re
from pathlib import Path

ROOT = Path(__file__).parents[2] / "services"
READS = re.compile(r"\butc_now\b|\bdatetime\.(utc)?now\(|\btime\.time\b|\btime\.time_ns\b|\bdate\.today\(")
# Each with the reason why the clock of one process ends nothing for the others.
ALLOWED = {
    "runtime/clock.py": "defines it",
    "runtime/stores/mongo_clock.py": "corrects it",
    "runtime/grpc/status.py": "reports it, to be compared",
    "runtime/auth/verification.py": "what it refuses, this process alone refuses; the edge verifies without MongoDB",
    "runtime/auth/key_copy.py": "compared with a time of a file that this machine wrote",
    "diagnosis/process_status.py": "compared with the reported one",
}
# What measures durations by the clock of its device. All else asks for the server's time: a device's clock may be wrong.
PAGE = Path(__file__).parents[2] / "edge" / "web"
DEVICE = re.compile(r"\bDate\.now\(\)|\bnew Date\(\)")
ON_DEVICES = {
    "client/connection.js": "finds what the server's clock is ahead",
    "client/stream.js": "when the server was last heard",
    "parts/announcer.js": "at most one summary in some seconds",
    "parts/board-panel.js": "when details are read again; since when nothing was heard",
    "parts/room/live.js": "since when nothing was heard",
    "screens/ops.js": "how long ago the checks ran",
}
OF_THE_OPERATOR = ("cli/", "embedded/")


def test_no_service_reads_the_clock_of_its_process() -> None:
    reading = {
        path.relative_to(ROOT).as_posix()
        for path in ROOT.rglob("*.py")
        if any(READS.search(line) for line in path.read_text().splitlines())
    }
    in_services = {path for path in reading if not path.startswith(OF_THE_OPERATOR)}
    assert in_services == ALLOWED.keys()


def test_no_screen_compares_what_the_server_says_with_the_clock_of_its_device() -> None:
    reading = {path.relative_to(PAGE).as_posix() for path in PAGE.rglob("*.js") if DEVICE.search(path.read_text())}
    assert reading == ON_DEVICES.keys()
