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
_HERE, _RESOURCES, _OPERATION = "On this machine", "Resources", "Operation"
app.command("up", rich_help_panel=_HERE)(up.up)
app.command("status", rich_help_panel=_HERE)(stack.status)
app.command("logs", rich_help_panel=_HERE)(stack.logs)
app.command("stop", rich_help_panel=_HERE)(stack.stop)
app.command("top", rich_help_panel=_HERE)(top.top)
app.command("check", rich_help_panel=_HERE)(check.check)
app.add_typer(room.demo, name="demo", rich_help_panel=_HERE)
app.add_typer(quiz.group, name="quiz", rich_help_panel=_RESOURCES)
app.add_typer(room.group, name="room", rich_help_panel=_RESOURCES)
app.add_typer(action.types, name="action-type", rich_help_panel=_RESOURCES)
app.add_typer(action.group, name="action", rich_help_panel=_RESOURCES)
app.add_typer(board.group, name="board", rich_help_panel=_RESOURCES)
app.add_typer(player.group, name="player", rich_help_panel=_RESOURCES)
app.add_typer(group.group, name="group", rich_help_panel=_RESOURCES)
app.add_typer(user.group, name="user", rich_help_panel=_RESOURCES)
app.add_typer(client.group, name="client", rich_help_panel=_RESOURCES)
app.add_typer(webhook.group, name="webhook", rich_help_panel=_RESOURCES)
app.command("doctor", rich_help_panel=_OPERATION)(doctor.doctor)
app.command("verify", rich_help_panel=_OPERATION)(ledger.verify)
app.command("rebuild", rich_help_panel=_OPERATION)(ledger.rebuild)
app.add_typer(dlq.group, name="dlq", rich_help_panel=_OPERATION)
app.command("backup", rich_help_panel=_OPERATION)(backup.backup)
app.command("restore", rich_help_panel=_OPERATION)(backup.restore)
app.command("config", rich_help_panel=_OPERATION)(config.config)
app.command("secrets", rich_help_panel=_OPERATION)(secrets.secrets)
app.command("setup", rich_help_panel=_OPERATION)(stores.setup)
app.command("bootstrap-mongo", rich_help_panel=_OPERATION)(stores.bootstrap_mongo)
app.command("found", hidden=True)(stores.found)
app.command("verify-proof", rich_help_panel=_OPERATION)(proof.verify_proof)


def main() -> None:
    """Run the console script."""
    app()
