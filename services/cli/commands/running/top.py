"""`topten top`: a board in the terminal."""

from __future__ import annotations

from typing import Annotated

import typer

from services.cli.terminal import DATA, EXIT_USAGE, Data, fail, load_endpoints, run

BOARDS = "all, weekly, weekly:2026-47, monthly, monthly:2026-11, country:VN, quiz:ID or custom:NAME"


def top(
    board: Annotated[str, typer.Argument(help=f"{BOARDS}.", show_default=False)] = "",
    board_option: Annotated[
        str, typer.Option("--board", help="The same, as an option; all by default.", show_default=False)
    ] = "",
    watch: Annotated[
        bool | None,
        typer.Option(
            "--watch/--once",
            help="Follow the board, or print it once. By default it is followed in a terminal, and printed once with "
            "NO_COLOR or into a file or a pipe.",
            show_default=False,
        ),
    ] = None,
    data: Data = DATA,
) -> None:
    """Show the top 10 of a board, and the place of the first demo player on it.

    In a terminal it is live and fills the screen: q quits, Tab and Shift-Tab change the board.
    """
    if board and board_option and board != board_option:
        fail(f"Two boards are named: {board} and {board_option}. Name one.", EXIT_USAGE)
    board = board or board_option or "all"
    endpoints = load_endpoints(data)
    from services.cli.terminal_board.show import show_board

    try:
        run(show_board(endpoints, board, watch=watch))
    except KeyboardInterrupt:
        raise typer.Exit from None
