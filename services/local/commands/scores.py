"""`topten verify` and `topten rebuild`: what is derived, held against the ledger or made from it anew."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Self, cast

import typer
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TaskID, TextColumn, TimeElapsedColumn
from topten.score.v1 import score_pb2
from topten.score.v1 import score_service_pb2 as messages
from topten.score.v1.score_service_pb2_grpc import ScoreServiceStub

from services.local.accounting import Account, account
from services.local.client import Endpoints
from services.local.terminal import DATA, FOUND, Data, err, out, run
from services.runtime.grpc_client import open_stream

if TYPE_CHECKING:
    from topten.score.v1.score_service_pb2_grpc import ScoreServiceAsyncStub


def verify(
    patience: Annotated[
        float,
        typer.Option(
            help="Seconds for which an accepted action may be on its way before it is called missing; a little more "
            "than TOPTEN_SCORE_ACK_WAIT, after which what a dead worker held is delivered again.",
            min=0,
            max=3600,
        ),
    ] = 75,
    data: Data = DATA,
) -> None:
    """Hold everything against the ledger and name what differs. Changes nothing; exit code 1 if something does.

    Every total, chain and board, and every accepted action by its event id: each is counted once, as it was recorded,
    or waits to be published, or is a dead letter.
    """

    async def work() -> tuple[messages.VerifySummary, Account]:
        summary = messages.VerifySummary()
        endpoints = Endpoints.load(data)
        with _Bars() as bars:
            async with endpoints.operator() as token, endpoints.channel("score") as channel:
                stub = cast("ScoreServiceAsyncStub", ScoreServiceStub(channel))
                async with open_stream(stub.VerifyScores, messages.VerifyScoresRequest(), token=token) as steps:
                    async for step in steps:
                        if step.HasField("progress"):
                            bars.show(step.progress)
                        elif step.HasField("finding"):
                            finding = step.finding
                            _say(f"{finding.kind} {finding.subject}: {finding.detail}")
                        else:
                            summary = step.summary
            return summary, await account(endpoints, bars.show, patience=patience)

    summary, actions = run(work())
    for line in actions.findings:
        _say(line)
    findings = summary.findings + len(actions.findings)
    _say(
        f"{actions.accepted} accepted actions: {actions.counted} counted, {actions.waiting} wait to be published, "
        f"{actions.dead} dead letters"
    )
    _say(
        f"{summary.rows} ledger rows, {summary.players} players, {summary.boards} boards with {summary.members} members: "
        + (f"{findings} findings" if findings else "all as the ledger says")
    )
    if findings:
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


def _say(line: str) -> None:
    out.print(line, markup=False, soft_wrap=True)


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
