"""`tollgate providers`: who is known here, where, in which dialects, and what is odd about them."""

from dataclasses import asdict
from typing import Any

import click
from rich.markup import escape

from gateway.cli.show import print_json, print_lines, table
from gateway.upstream.providers import PROVIDERS, READ_ON, Provider


@click.command()
@click.argument("name", required=False)
@click.option("--json", "as_json", is_flag=True, help="Print JSON, for programs.")
def providers(name: str | None, as_json: bool) -> None:
    """List the providers that an upstream may name without saying more; with NAME, all that is known of one."""
    if name is not None and name not in PROVIDERS:
        raise click.BadParameter(
            f"{name} is not known here; any name works with a base_url of its own", param_hint="NAME"
        )
    shown = PROVIDERS if name is None else {name: PROVIDERS[name]}
    if as_json:
        print_json({"read_on": READ_ON, "data": [_view(each, record) for each, record in shown.items()]})
    elif name is None:
        _print_all()
    else:
        _print_one(name, PROVIDERS[name])


def _view(name: str, record: Provider) -> dict[str, Any]:
    return {"name": name, **asdict(record)}


def _print_all() -> None:
    rows = table("provider", "base URL", "dialects", "quirks", right=("quirks",))
    for name, record in PROVIDERS.items():
        rows.add_row(
            name,
            escape(record.base_url or record.base_url_hint),
            ", ".join(record.dialects),
            str(len(record.quirks) or ""),
        )
    print_lines(rows, "What is in braces is your account's. All of one: tollgate providers NAME")


def _print_one(name: str, record: Provider) -> None:
    print_lines(f"[bold]{name}[/]", f"base URL        {escape(record.base_url or record.base_url_hint)}")
    print_lines(f"key             {record.auth_header}", f"dialects        {', '.join(record.dialects)}")
    for dialect, surface in record.elsewhere.items():
        print_lines(f"{dialect} at {escape(surface.base_url)}, key in {surface.auth_header}")
    print_lines(
        f"streams         {'asked' if record.include_usage else 'not asked'} for their usage; "
        f"abandoned: {record.on_disconnect}",
        f"output limit    {record.output_limit_field}",
        *(f"- {escape(quirk)}" for quirk in record.quirks),
        f"From, on {READ_ON}:",
        *(f"  {escape(source)}" for source in record.sources),
    )
