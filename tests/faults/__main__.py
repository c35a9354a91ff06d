"""`python -m tests.faults --seed S --minutes M`: the long random run."""

from __future__ import annotations

import argparse
import asyncio
import random
import sys

from tests.faults.random_run import SETTINGS, WORKERS, RandomRun
from tests.servers import running_stack


def main() -> int:
    """0 if nothing was lost or doubled, 1 if something was."""
    parser = argparse.ArgumentParser(description="Faults at random on a whole system, checked at the end.")
    parser.add_argument("--seed", type=int, default=random.randrange(10**6), help="the same seed, the same faults")
    parser.add_argument("--minutes", type=float, default=5)
    arguments = parser.parse_args()
    print(f"seed {arguments.seed}, {arguments.minutes:g} minutes", flush=True)
    with running_stack(SETTINGS, *WORKERS) as stack:
        run = RandomRun(stack, arguments.seed, lambda line: print(f"  {line}", flush=True))
        wrong = asyncio.run(run.run(60 * arguments.minutes))
        for line in wrong:
            print(line)
        if wrong:
            print(stack.logs(), file=sys.stderr)
    print("all as it should be" if not wrong else f"{len(wrong)} findings with seed {arguments.seed}")
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
