"""The dearest functions of each process under load, sampled from outside by py-spy.

    python -m tests.bench profile [SECONDS [IN_FLIGHT]] [graphql | grpc | group | empty]

The load is a row of `price`. A function's own share is the time in its own code, its total has what it calls as well; both
are shares of the samples in which the process was busy. Sampling needs the right to trace the processes: run as root,
or with `kernel.yama.ptrace_scope=0`.
"""

from __future__ import annotations

import asyncio
import sysconfig
from collections import Counter
from collections.abc import Sequence
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Final

from topten.quiz.v1 import quiz_pb2

from services.cli.system.client import GraphqlClient
from tests.bench.price import ACTS, ROWS, run_load
from tests.factories import quiz_definition
from tests.imports import import_quiz
from tests.players import endpoints, register
from tests.servers import RunningStack, running_stack, unique

PROCESSES: Final = ("edge", "identity", "quiz", "score", "leaderboard")
SHOWN: Final = 12
SECONDS: Final = 5
IN_FLIGHT: Final = 64
_RATE: Final = 200  # samples per second
_WAITING: Final = "EpollSelector.select"  # which py-spy takes for work where the machine is busy
_PY_SPY: Final = Path(sysconfig.get_path("scripts")) / "py-spy"


async def measure(seconds: int, in_flight: int, row: str) -> dict[str, Counter[tuple[str, ...]]]:
    """For each process its stacks, outermost function first, and how often each was seen."""
    with running_stack() as stack:
        quiz_id = unique("profile-")
        await import_quiz(endpoints(stack), quiz_definition(quiz_id, counting=quiz_pb2.COUNTING_SUM))
        async with AsyncExitStack() as opened:
            client = await opened.enter_async_context(GraphqlClient(endpoints(stack).graphql))
            players = [await register(client) for _ in range(in_flight)]
            act = await ACTS[row](opened, stack, players, quiz_id)
            await run_load(act, in_flight, 1.0)  # warms connections and caches
            loading = asyncio.create_task(run_load(act, in_flight, seconds + 1.0))
            profiles = await asyncio.gather(*(_stacks(stack, name, seconds) for name in PROCESSES))
            await loading
    return dict(zip(PROCESSES, profiles, strict=True))


async def _stacks(stack: RunningStack, process: str, seconds: int) -> Counter[tuple[str, ...]]:
    target = stack.data / f"{process}.stacks"
    sampling = await asyncio.create_subprocess_exec(
        _PY_SPY, "record", "--pid", str(stack.pid_of(process)), "--duration", str(seconds), "--rate", str(_RATE),
        "--format", "raw", "--output", target, "--nonblocking",
        stdout=asyncio.subprocess.DEVNULL, stderr=asyncio.subprocess.PIPE,
    )  # fmt: skip
    _, errors = await sampling.communicate()
    if sampling.returncode:
        raise RuntimeError(f"py-spy failed for {process}: {errors.decode()[-300:]}")
    stacks: Counter[tuple[str, ...]] = Counter()
    for line in target.read_text().splitlines():
        frames, _, count = line.rpartition(" ")
        if _WAITING not in frames.rpartition(";")[2]:
            stacks[tuple(frames.split(";"))] += int(count)
    return stacks


def show(process: str, stacks: Counter[tuple[str, ...]]) -> None:
    """Print the functions of a process by their own time."""
    own: Counter[str] = Counter()
    total: Counter[str] = Counter()
    for frames, count in stacks.items():
        names = [_function(frame) for frame in frames]
        own[names[-1]] += count
        total.update(dict.fromkeys(names, count))
    samples = max(1, stacks.total())
    print(f"\n| {process}, {samples} samples | own % | total % |\n| --- | --- | --- |")
    for name, count in own.most_common(SHOWN):
        print(f"| `{name}` | {100 * count / samples:.1f} | {100 * total[name] / samples:.1f} |", flush=True)


def _function(frame: str) -> str:
    """Shorten `name (folder/file.py:line)` to the function, of all its lines."""
    return frame.rpartition(":")[0] + ")" if frame.endswith(")") and ":" in frame else frame


def main(arguments: Sequence[str] = ()) -> None:
    """Profile what the arguments name, and print a table for each process."""
    numbers = [int(each) for each in arguments if each.isdigit()]
    seconds, in_flight = (*numbers, *(SECONDS, IN_FLIGHT)[len(numbers) :])[:2]
    row = next((each for each in arguments if each in ROWS), "graphql")
    for process, stacks in asyncio.run(measure(seconds, in_flight, row)).items():
        show(process, stacks)
