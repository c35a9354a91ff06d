"""`python -m tests.faults --seed S --minutes M`: the random run, long or short, with all faults or some."""

from __future__ import annotations

import argparse
import asyncio
import random
import shutil
import sys
import traceback
from collections.abc import Iterator
from pathlib import Path

from tests.faults.plan import KINDS
from tests.faults.random_run import SETTINGS, WORKERS, RandomRun
from tests.leftovers import exit_on_sigterm
from tests.servers import RunningStack, running_stack


def main() -> int:
    """Run each seed; the exit code is 1 if something was lost or doubled."""
    parser = argparse.ArgumentParser(description="Random faults on a whole system, checked at the end.")
    parser.add_argument("--seed", type=int, default=random.randrange(10**6), help="The seed determines the faults.")
    parser.add_argument("--seeds", type=int, default=1, help="Run this many seeds, each checked, on one system.")
    parser.add_argument("--minutes", type=float, default=5, help="How long each seed causes faults.")
    parser.add_argument("--seconds", type=float, help="Instead of minutes.")
    parser.add_argument("--longest", type=float, default=10, help="The longest duration of one fault in seconds.")
    parser.add_argument("--faults", nargs="+", choices=KINDS, default=(), help="Only these kinds; all by default.")
    parser.add_argument("--logs", type=Path, help="Folder to which all logs of a seed with findings are copied.")
    arguments = parser.parse_args()
    seeds, failed = iter(range(arguments.seed, arguments.seed + arguments.seeds)), []
    for first in seeds:
        with running_stack(SETTINGS, *WORKERS) as stack:
            for seed in _from(first, seeds):
                if not _run(stack, seed, arguments):
                    failed.append(seed)
                    break  # what is wrong stays wrong: the next seed has a system of its own
    if arguments.seeds > 1:
        print(f"{arguments.seeds} seeds, with findings: {', '.join(map(str, failed)) or 'none'}")
    return 1 if failed else 0


def _from(first: int, following: Iterator[int]) -> Iterator[int]:
    yield first
    yield from following


def _run(stack: RunningStack, seed: int, arguments: argparse.Namespace) -> bool:
    """Run one seed and return whether it has no findings, which are printed."""
    seconds = arguments.seconds or 60 * arguments.minutes
    print(f"seed {seed}, {seconds:g} seconds", flush=True)
    run = RandomRun(stack, seed, lambda line: print(f"  {line}", flush=True))
    try:
        wrong = asyncio.run(run.run(seconds, kinds=arguments.faults, longest=arguments.longest))
    except Exception as error:  # noqa: BLE001  # whatever it is, the next seed runs
        traceback.print_exc()
        wrong = [f"{type(error).__name__}: {error}"]
    for line in wrong:
        print(line)
    if wrong and arguments.logs:
        shutil.copytree(stack.data / "logs", arguments.logs / str(seed), dirs_exist_ok=True)
    elif wrong:
        print(stack.logs(), file=sys.stderr)
    print("no findings" if not wrong else f"{len(wrong)} findings with seed {seed}", flush=True)
    return not wrong


if __name__ == "__main__":
    exit_on_sigterm()
    sys.exit(main())
