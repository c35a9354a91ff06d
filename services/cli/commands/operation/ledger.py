"""`topten verify` and `topten rebuild`: compare what is derived with the ledger, or build it again."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Self

import typer

from services.cli.terminal import DATA, EXIT_FINDING, Data, err, load_endpoints, run, say

if TYPE_CHECKING:
    from rich.progress import TaskID
    from topten.score.v1 import score_pb2


def verify(
    patience: Annotated[
        float,
        typer.Option(
            help="Seconds that an accepted action may be on its way before it is reported; a little more than "
            "TOPTEN_SCORE_ACK_WAIT, after which the events of a dead worker are delivered again.",
            min=0,
            max=3600,
        ),
    ] = 30,
    uncounted_after: Annotated[
        float,
        typer.Option(
            help="Seconds after which an accepted action that is not even published is a finding, and so is an attempt "
            "whose time is up and that is not handed in.",
            min=0,
        ),
    ] = 60,
    repair: Annotated[
        bool,
        typer.Option(
            "--repair",
            help="Repair differences: rebuild totals and boards from the ledger, publish again accepted events that "
            "were never counted, and seal gaps in the ledger's chains. No row is ever changed.",
        ),
    ] = False,
    data: Data = DATA,
) -> None:
    """Compare everything with the ledger and report differences; exit code 1 if there are any.

    Checks every total, chain and board, and every event in both directions: a recorded event is counted once as recorded,
    or not yet published, or a dead letter; a counted event is recorded. Checks the answers of rooms, too,
    and that attempts are handed in when their time is up. Changes nothing without --repair, which does not touch either.
    """
    endpoints = load_endpoints(data)
    from services.cli.audit import ledger

    with _Bars() as bars:
        summary, events, rooms = run(
            ledger.verify(
                endpoints, bars.show, say, say, patience=patience, uncounted_after=uncounted_after, repair=repair
            )
        )
    findings = summary.findings + len(events.findings) + events.republished + rooms.findings
    say(
        f"{events.recorded} recorded events: {events.counted} counted, {events.unpublished} not yet published, "
        f"{events.dead} dead letters"
    )
    if events.restored_over:
        say(
            f"note: {events.restored_over} counted events have no record: a restore lost it, and what they changed was "
            "taken back"
        )
    if rooms.rooms:
        say(f"{rooms.rooms} rooms with {rooms.answers} answers")
    say(
        f"{summary.rows} ledger rows, {summary.players} players, {summary.boards} boards with {summary.members} entries: "
        + (f"{findings} findings" if findings else "no differences")
        + (f", {summary.seals} sealed gaps" if summary.seals else "")
    )
    if repair and findings:
        say(
            f"repaired {summary.mended_players} players, rebuilt {summary.rebuilt_boards} boards, "
            f"republished {events.republished} events; verify again to confirm"
        )
    if findings:
        raise typer.Exit(EXIT_FINDING)


def rebuild(data: Data = DATA) -> None:
    """Rebuild every board from the ledger, while scores keep flowing."""
    endpoints = load_endpoints(data)
    from services.cli.audit import ledger

    with _Bars() as bars:
        summary = run(ledger.rebuild(endpoints, bars.show))
    say(f"{summary.boards} boards with {summary.members} entries, generation {summary.generation}")


class _Bars:
    """One progress bar for each stage, on stderr, so that findings can be piped; nothing where that is no terminal."""

    def __init__(self) -> None:
        from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

        columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
        self._progress = Progress(*columns, console=err, disable=not err.is_terminal)
        self._tasks: dict[str, TaskID] = {}

    def __enter__(self) -> Self:
        self._progress.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._progress.stop()

    def show(self, progress: score_pb2.Progress) -> None:
        """Update the bar of a stage."""
        if progress.stage not in self._tasks:
            self._tasks[progress.stage] = self._progress.add_task(progress.stage, total=None)
        self._progress.update(self._tasks[progress.stage], completed=progress.done, total=progress.total or None)
