"""`make load PROFILE=spike SCALE=0.05`: one profile of traffic against its own system, and its report.

SCALE=1 is the duration that the specification asks for; RATE is the normal number of actions a second, SCREENS that of open
streams. Exits with 1 if an action was lost, a screen went backwards, or a threshold that judges did not hold.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import sys
import tempfile
from pathlib import Path

from rich.console import Console

from services.runtime.config.settings import ProcessConfig
from services.runtime.telemetry.logging import configure
from tests.leftovers import exit_on_sigterm
from tests.load import report
from tests.load.profiles import PROFILES
from tests.load.run import Plan, play
from tests.servers import running_stack

# Each player has their own address, so that the limits per address apply to one player, as in production.
SETTINGS = {"TOPTEN_EDGE_TRUSTED_PROXIES": "127.0.0.1"}


def main(arguments: list[str]) -> int:
    """Play one profile and write its report."""
    parser = argparse.ArgumentParser(prog="make load", description=__doc__)
    parser.add_argument("profile", choices=PROFILES)
    parser.add_argument("--scale", type=float, default=1.0, help="times the duration that is asked for")
    parser.add_argument("--rate", type=float, default=20.0, help="actions a second of normal traffic")
    parser.add_argument("--screens", type=int, default=200, help="streams that are held open")
    parser.add_argument("--report", type=Path, default=Path(".load"), help="folder of the report")
    chosen = parser.parse_args(arguments)
    if chosen.scale <= 0 or chosen.rate <= 0 or chosen.screens < 1:
        parser.error("scale, rate and screens must be above 0")
    configure(ProcessConfig(log_level="error"), "load")
    plan = Plan(chosen.profile, scale=chosen.scale, rate=chosen.rate, screens=chosen.screens)
    console = Console()
    with (
        running_stack({**SETTINGS, **os.environ}) as stack,
        tempfile.TemporaryDirectory(prefix="topten-load-") as folder,
    ):
        outcome = asyncio.run(play(stack, plan, Path(folder)))
    for title, rows in report.tables(outcome):
        console.print(report.shown(title, rows))
    console.print(f"The report is {report.write(outcome, chosen.report)}")
    return 0 if outcome.is_good else 1


if __name__ == "__main__":
    exit_on_sigterm()
    sys.exit(main(sys.argv[1:]))
