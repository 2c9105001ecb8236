"""`tollgate check-config`: says what a configuration means, before a gateway is started with it."""

import os
import sys
from pathlib import Path
from typing import Any

import click
from rich.markup import escape

from gateway.cli.place import default_data_dir
from gateway.cli.plan_view import plan_table, plan_view
from gateway.cli.show import print_json, print_lines, table
from gateway.pricing.book import PriceBook
from gateway.pricing.price_map import PriceMapMissing
from gateway.relay.catalogue import build_catalogue
from gateway.settings import Settings, SettingsError, load_settings


@click.command("check-config")
@click.option("--config", type=click.Path(dir_okay=False, path_type=Path), help="A TOML file; without it the defaults.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON, for programs.")
def check_config(config: Path | None, as_json: bool) -> None:
    """Read the configuration and the environment as `serve` would; exit with 1 where something would not work."""
    try:
        settings = load_settings(config, os.environ)
        book = PriceBook.load(credits_per_usd=settings.credits_per_usd, overrides=settings.prices)
    except (SettingsError, PriceMapMissing, ValueError) as error:
        click.echo(f"tollgate: {error}", err=True)
        sys.exit(1)
    unpriced = _unpriced(settings, book)
    models = len(build_catalogue(settings.upstreams, settings.aliases, book))
    if as_json:
        print_json(_view(settings, models, unpriced))
    else:
        _print(settings, models, unpriced)
    sys.exit(1 if unpriced else 0)


def _unpriced(settings: Settings, book: PriceBook) -> list[str]:
    """What the configuration names and nobody can be charged for, each once, as `model (upstream/provider's model)`."""
    by_name = {one.upstream.name: one.upstream for one in settings.upstreams}
    named = [(name, one.upstream.name, name) for one in settings.upstreams for name in one.models or ()]
    named += [(alias.name, upstream, model) for alias in settings.aliases for upstream, model in alias.targets]
    return list(
        dict.fromkeys(
            f"{name} ({upstream}: {by_name[upstream].provider}/{model})"
            for name, upstream, model in named
            if book.find(by_name[upstream].provider, model) is None
        )
    )


def _view(settings: Settings, models: int, unpriced: list[str]) -> dict[str, Any]:
    return {
        "host": settings.host,
        "port": settings.port,
        "database": "DATABASE_URL" if settings.database_url else str(default_data_dir()),
        "operator_key": settings.operator_key is not None,
        "tokens": {"algorithms": settings.tokens.algorithms, "issuer": settings.tokens.issuer},
        "credits_per_usd": str(settings.credits_per_usd),
        "upstreams": [
            {
                "name": one.upstream.name,
                "provider": one.upstream.provider,
                "base_url": one.upstream.base_url,
                "has_key": bool(one.upstream.api_key),
            }
            for one in settings.upstreams
        ],
        "models": models,
        "unpriced": unpriced,
        "plans": [plan_view(plan) for plan in settings.plans],
    }


def _print(settings: Settings, models: int, unpriced: list[str]) -> None:
    rows = table("upstream", "provider", "address", "key", "models")
    for one in settings.upstreams:
        rows.add_row(
            escape(one.upstream.name),
            escape(one.upstream.provider),
            escape(one.upstream.base_url),
            "set" if one.upstream.api_key else "none",
            "every priced one" if one.models is None else str(len(one.models)),
        )
    database = "DATABASE_URL" if settings.database_url else f"a PostgreSQL of its own in {default_data_dir()}"
    operator = "from TOLLGATE_OPERATOR_KEY" if settings.operator_key else "a random one, printed at start"
    algorithms = " or ".join(settings.tokens.algorithms)
    tokens = f"{algorithms} of {settings.tokens.issuer}" if algorithms else "none: people have no tokens"
    print_lines(
        f"listens on    {escape(settings.host)}:{settings.port}",
        f"database      {escape(database)}",
        f"operator key  {operator}",
        f"tokens        {escape(tokens)}",
        f"models        {models}, at {settings.credits_per_usd} credits a US dollar",
    )
    if settings.upstreams:
        print_lines("", rows)
    else:
        print_lines("", "No upstream: set OPENAI_API_KEY, or configure one, or no model is served.")
    print_lines("", plan_table(settings.plans))
    if unpriced:
        print_lines(
            "Without a price, so refused when asked for; add \\[\\[prices]]:", *(f"  {escape(n)}" for n in unpriced)
        )
