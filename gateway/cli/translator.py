"""`tollgate translator`: the process around litellm; the gateway starts it, and is its standard input."""

import sys

import click


@click.command()
def translator() -> None:
    """Serve providers through litellm on a unix socket. Started by the gateway, which writes what it is to do."""
    if sys.stdin.isatty():
        raise click.ClickException('it is started by the gateway, for upstreams with `via = "translator"`')
    from gateway.translator.process.main import run

    run()
