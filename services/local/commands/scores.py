"""`topten verify` and `topten rebuild`: what is derived, held against the ledger or made from it anew."""

from __future__ import annotations

from typing import TYPE_CHECKING, Self, cast

import typer
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TaskID, TextColumn, TimeElapsedColumn
from topten.score.v1 import score_pb2
from topten.score.v1 import score_service_pb2 as messages
from topten.score.v1.score_service_pb2_grpc import ScoreServiceStub

from services.local.client import Endpoints
from services.local.terminal import DATA, FOUND, Data, err, out, run
from services.runtime.grpc_client import open_stream

if TYPE_CHECKING:
    from topten.score.v1.score_service_pb2_grpc import ScoreServiceAsyncStub


def verify(data: Data = DATA) -> None:
    """Hold every total, chain and board against the ledger and name what differs. Changes nothing."""

    async def work() -> messages.VerifySummary:
        summary = messages.VerifySummary()
        endpoints = Endpoints.load(data)
        async with endpoints.operator() as token, endpoints.channel("score") as channel:
            stub = cast("ScoreServiceAsyncStub", ScoreServiceStub(channel))
            with _Bars() as bars:
                async with open_stream(stub.VerifyScores, messages.VerifyScoresRequest(), token=token) as steps:
                    async for step in steps:
                        if step.HasField("progress"):
                            bars.show(step.progress)
                        elif step.HasField("finding"):
                            finding = step.finding
                            out.print(
                                f"{finding.kind} {finding.subject}: {finding.detail}", markup=False, soft_wrap=True
                            )
                        else:
                            summary = step.summary
        return summary

    summary = run(work())
    out.print(
        f"{summary.rows} ledger rows, {summary.players} players, {summary.boards} boards with {summary.members} members: "
        + (f"{summary.findings} differ" if summary.findings else "all as the ledger says")
    )
    if summary.findings:
        raise typer.Exit(FOUND)


def rebuild(data: Data = DATA) -> None:
    """Make every board anew from the ledger, while scores keep flowing."""

    async def work() -> messages.RebuildSummary:
        summary = messages.RebuildSummary()
        endpoints = Endpoints.load(data)
        async with endpoints.operator() as token, endpoints.channel("score") as channel:
            stub = cast("ScoreServiceAsyncStub", ScoreServiceStub(channel))
            with _Bars() as bars:
                async with open_stream(stub.RebuildBoards, messages.RebuildBoardsRequest(), token=token) as steps:
                    async for step in steps:
                        if step.HasField("progress"):
                            bars.show(step.progress)
                        else:
                            summary = step.summary
        return summary

    summary = run(work())
    out.print(f"{summary.boards} boards with {summary.members} members, generation {summary.generation}")


class _Bars:
    """One bar a stage, on stderr, so that what is found can be piped."""

    def __init__(self) -> None:
        columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
        self._progress = Progress(*columns, console=err, transient=not err.is_terminal)
        self._tasks: dict[str, TaskID] = {}

    def __enter__(self) -> Self:
        self._progress.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._progress.stop()

    def show(self, progress: score_pb2.Progress) -> None:
        """Draw how far a stage is."""
        if progress.stage not in self._tasks:
            self._tasks[progress.stage] = self._progress.add_task(progress.stage, total=None)
        self._progress.update(self._tasks[progress.stage], completed=progress.done, total=progress.total or None)
