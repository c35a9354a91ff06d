"""The `topten` command tree. Exit codes: 0 success, 1 a finding or a failure, 2 wrong usage or no system to talk to."""

from __future__ import annotations

import typer

from services.cli.command_line import CommandLine
from services.cli.commands.operation import backup, config, dlq, doctor, ledger, proof, secrets, stores
from services.cli.commands.resources import action, board, client, group, player, quiz, room, user, webhook
from services.cli.commands.running import check, stack, top, up

app = typer.Typer(
    name="topten",
    cls=CommandLine,
    help="Real-time scores and leaderboards: run the system, watch boards, operate a deployment.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)
app.add_typer(dlq.group, name="dlq")
app.add_typer(quiz.group, name="quiz")
app.add_typer(user.group, name="user")
app.add_typer(client.group, name="client")
app.add_typer(action.types, name="action-type")
app.add_typer(action.group, name="action")
app.add_typer(board.group, name="board")
app.add_typer(player.group, name="player")
app.add_typer(webhook.group, name="webhook")
app.add_typer(group.group, name="group")
app.add_typer(room.group, name="room")
app.add_typer(room.demo, name="demo")
app.command("up")(up.up)
app.command("status")(stack.status)
app.command("logs")(stack.logs)
app.command("stop")(stack.stop)
app.command("top")(top.top)
app.command("verify")(ledger.verify)
app.command("verify-proof")(proof.verify_proof)
app.command("rebuild")(ledger.rebuild)
app.command("backup")(backup.backup)
app.command("restore")(backup.restore)
app.command("check")(check.check)
app.command("setup")(stores.setup)
app.command("bootstrap-mongo")(stores.bootstrap_mongo)
app.command("found", hidden=True)(stores.found)
app.command("secrets")(secrets.secrets)
app.command("config")(config.config)
app.command("doctor")(doctor.doctor)


def main() -> None:
    """Run the console script."""
    app()
