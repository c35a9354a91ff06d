"""`python -m tests.faults --seed S --minutes M`: the random run, long or short, with all faults or some."""

from __future__ import annotations

import argparse
import asyncio
import random
import shutil
import sys
from pathlib import Path

from tests.faults.plan import KINDS
from tests.faults.random_run import SETTINGS, WORKERS, RandomRun
from tests.servers import running_stack


def main() -> int:
    """Run it; the exit code is 1 if something was lost or doubled."""
    parser = argparse.ArgumentParser(description="Random faults on a whole system, checked at the end.")
    parser.add_argument("--seed", type=int, default=random.randrange(10**6), help="The seed determines the faults.")
    parser.add_argument("--minutes", type=float, default=5)
    parser.add_argument("--seconds", type=float, help="Instead of minutes.")
    parser.add_argument("--longest", type=float, default=10, help="The longest duration of one fault in seconds.")
    parser.add_argument("--faults", nargs="+", choices=KINDS, default=(), help="Only these kinds; all by default.")
    parser.add_argument("--logs", type=Path, help="Folder to which all logs are copied at the end.")
    arguments = parser.parse_args()
    seconds = arguments.seconds or 60 * arguments.minutes
    print(f"seed {arguments.seed}, {seconds:g} seconds", flush=True)
    with running_stack(SETTINGS, *WORKERS) as stack:
        run = RandomRun(stack, arguments.seed, lambda line: print(f"  {line}", flush=True))
        try:
            wrong = asyncio.run(run.run(seconds, kinds=arguments.faults, longest=arguments.longest))
        except AssertionError as error:
            wrong = [str(error)]
        for line in wrong:
            print(line)
        if arguments.logs:
            shutil.copytree(stack.data / "logs", arguments.logs, dirs_exist_ok=True)
        elif wrong:
            print(stack.logs(), file=sys.stderr)
    print("no findings" if not wrong else f"{len(wrong)} findings with seed {arguments.seed}")
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
