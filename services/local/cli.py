"""The `topten` command. Exit codes: 0 fine, 1 found something wrong, 2 used wrongly or nothing to talk to."""

from __future__ import annotations

import typer

from services.local.commands import check, config, dlq, doctor, prepare, quiz, scores, secrets, top, up, user

app = typer.Typer(
    name="topten",
    help="Real-time scores and leaderboards: run them here, watch a board, look after what is stored.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)
quizzes = typer.Typer(help="Quizzes.", no_args_is_help=True)
letters = typer.Typer(help="Events that could not be counted.", no_args_is_help=True)
users = typer.Typer(help="Accounts.", no_args_is_help=True)
quizzes.command("import")(quiz.import_files)
users.command("grant")(user.grant)
users.command("revoke")(user.revoke)
users.command("erase")(user.erase)
letters.command("list")(dlq.list_letters)
letters.command("show")(dlq.show)
letters.command("replay")(dlq.replay)
app.add_typer(letters, name="dlq")
app.add_typer(quizzes, name="quiz")
app.add_typer(users, name="user")
app.command("up")(up.up)
app.command("top")(top.top)
app.command("verify")(scores.verify)
app.command("rebuild")(scores.rebuild)
app.command("check")(check.check)
app.command("setup")(prepare.setup)
app.command("found")(prepare.found)
app.command("secrets")(secrets.secrets)
app.command("config")(config.config)
app.command("doctor")(doctor.doctor)


def main() -> None:
    """The console script."""
    app()
