"""Where the gateway keeps its data, unless told otherwise."""

import os
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import click


def default_data_dir(environ: Mapping[str, str] = os.environ) -> Path:
    """/var/lib/tollgate for root, else $XDG_DATA_HOME/tollgate, by default ~/.local/share/tollgate."""
    if os.geteuid() == 0:
        return Path("/var/lib/tollgate")
    # The XDG specification: a path that is not absolute is ignored.
    given = Path(environ.get("XDG_DATA_HOME", ""))
    return (given if given.is_absolute() else Path.home() / ".local" / "share") / "tollgate"


def data_dir_option(command: Callable[..., Any]) -> Callable[..., Any]:
    return click.option(
        "--data-dir",
        type=click.Path(file_okay=False, path_type=Path),
        help="The gateway's data folder, with its embedded Postgres.",
    )(command)
