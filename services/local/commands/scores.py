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
    ] = 30,
    repair: Annotated[
        bool,
        typer.Option(
            "--repair",
            help="Mend what differs: totals and boards are made from the ledger again, and accepted events that are "
            "counted nowhere are published once more. The ledger itself is never changed.",
        ),
    ] = False,
    data: Data = DATA,
) -> None:
    """Hold everything against the ledger and name what differs; exit code 1 if something did.

    Every total, chain and board, and every event by its id, both ways: each on record is counted once as it was recorded,
    or waits to be published, or is a dead letter; each that is counted is on record. Without --repair nothing is changed.
    """

    async def work() -> tuple[messages.VerifySummary, Account]:
        summary = messages.VerifySummary()
        endpoints = Endpoints.load(data)
        with _Bars() as bars:
            async with endpoints.operator() as token, endpoints.channel("score") as channel:
                stub = cast("ScoreServiceAsyncStub", ScoreServiceStub(channel))
                request = messages.VerifyScoresRequest(repair=repair)
                async with open_stream(stub.VerifyScores, request, token=token) as steps:
                    async for step in steps:
                        if step.HasField("progress"):
                            bars.show(step.progress)
                        elif step.HasField("finding"):
                            finding = step.finding
                            _say(f"{finding.kind} {finding.subject}: {finding.detail}")
                        else:
                            summary = step.summary
            return summary, await account(endpoints, bars.show, patience=patience, repair=repair)

    summary, events = run(work())
    for line in events.findings:
        _say(line)
    findings = summary.findings + len(events.findings) + events.republished
    _say(
        f"{events.recorded} events on record: {events.counted} counted, {events.waiting} wait to be published, "
        f"{events.dead} dead letters"
    )
    _say(
        f"{summary.rows} ledger rows, {summary.players} players, {summary.boards} boards with {summary.members} members: "
        + (f"{findings} findings" if findings else "all as the ledger says")
    )
    if repair and findings:
        _say(
            f"mended {summary.mended_players} players' totals, made {summary.rebuilt_boards} boards anew, "
            f"published {events.republished} events once more; verify again to see that nothing is left"
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
