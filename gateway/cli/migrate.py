"""`tollgate migrate`: brings the database's schema up to this version."""

from pathlib import Path

import click

from gateway.cli.database import bring_up_to_date, database, pending_names
from gateway.cli.desk import run_and_exit, say
from gateway.cli.place import data_dir_option
from gateway.cli.show import print_json


@click.command()
@click.option("--check", is_flag=True, help="Change nothing; exit with 1 when something is pending.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON, for programs.")
@data_dir_option
def migrate(check: bool, as_json: bool, data_dir: Path | None) -> None:
    """Apply pending migrations. Any number of processes may do it at once; there is no way back."""

    async def work() -> int:
        async with database(data_dir, progress=say, up_to_date=False) as dsn:
            names = await pending_names(dsn) if check else await bring_up_to_date(dsn)
        if as_json:
            print_json({"pending" if check else "applied": names})
        elif names:
            click.echo("\n".join(f"{'pending' if check else 'applied'}: {name}" for name in names))
        else:
            click.echo("The schema is up to date.")
        return 1 if check and names else 0

    run_and_exit(work)
