"""The `tollgate` command: exit code 0 when done, 1 when refused or when something was found, 2 for wrong usage."""

from importlib import import_module
from typing import Final

import click

from gateway import __version__

_COMMANDS: Final = {
    "serve": "gateway.cli.serve:serve",
    "replay": "gateway.cli.replay:replay",
    "translator": "gateway.cli.translator:translator",
    "migrate": "gateway.cli.migrate:migrate",
    "check-config": "gateway.cli.check_config:check_config",
    "providers": "gateway.cli.providers:providers",
    "audit": "gateway.cli.audit:audit",
    "audit-log": "gateway.cli.audit_log:audit_log",
    "attack": "gateway.cli.attack:attack",
    "org": "gateway.cli.orgs:org",
    "key": "gateway.cli.keys:key",
    "credits": "gateway.cli.credits:credits",
    "plan": "gateway.cli.plans:plan",
    "user": "gateway.cli.users:user",
    "policy": "gateway.cli.policies:policy",
    "ledger": "gateway.cli.ledger:ledger",
}


class _Commands(click.Group):
    """Imports a command when it is called for: `tollgate key list` need not load the server."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(_COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name not in _COMMANDS:
            return None
        module, _, attribute = _COMMANDS[cmd_name].partition(":")
        command: click.Command = getattr(import_module(module), attribute)
        return command


@click.command(cls=_Commands, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__, package_name="tollgate", message="%(prog)s %(version)s")
def main() -> None:
    """Tollgate: a reverse proxy that makes every LLM call pay its way.

    The operator's commands work beside a running gateway and when none runs: on DATABASE_URL where that is set, else on
    the Postgres in the data folder.
    """
