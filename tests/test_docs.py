"""The documents say what the code does: each table that people look things up in is compared with its source."""

import ast
import re
import tomllib
from collections.abc import Iterator
from decimal import Decimal
from pathlib import Path
from typing import Any, cast

import click
import msgspec
import pytest
from aiohttp import web
from click.testing import CliRunner

from gateway.cli import main
from gateway.core import errors
from gateway.core.dialects import DIALECTS
from gateway.edge import headers
from gateway.edge.routes import add_metrics_route, add_routes
from gateway.ledger.plans import PlanTable
from gateway.ops.metrics import Metrics
from gateway.pricing.sets import SetTable
from gateway.settings import _DECIDED_ELSEWHERE, _File
from gateway.upstream.providers import ANY_OTHER, PROVIDERS, READ_ON
from tests.ledger.seeded_bugs import BUGS

ROOT = Path(__file__).parent.parent
DOCS = sorted((ROOT / "docs").glob("*.md"))
PAGES = [*DOCS, *(ROOT / name for name in ("README.md", "CHANGELOG.md", "CONTRIBUTING.md", "SECURITY.md"))]
CODE = sorted((ROOT / "gateway").rglob("*.py"))
SHARED = {"--limit", "--offset", "--json", "--data-dir"}
"""Options of many commands, which cli.md describes in a sentence."""


def read(name: str) -> str:
    return (ROOT / "docs" / name).read_text("utf-8")


def rows(text: str) -> Iterator[list[str]]:
    """The cells of each table row; a bar in a cell is written `\\|`."""
    for line in text.splitlines():
        if line.startswith("|"):
            yield [cell.strip().replace("\\|", "|") for cell in re.split(r"(?<!\\)\|", line)[1:-1]]


# --- configuration.md -----------------------------------------------------------------------------------------------


def settings_of(shape: Any, path: str = "") -> Iterator[tuple[str, object]]:
    """Each key of the configuration file with its default; `msgspec.NODEFAULT` where one is required."""
    for field in shape.fields:
        if field.encode_name in _DECIDED_ELSEWHERE:
            continue
        name = f"{path}{field.encode_name}"
        item = getattr(field.type, "item_type", field.type)
        if isinstance(item, msgspec.inspect.StructType | msgspec.inspect.DataclassType):
            if field.required:
                yield name, msgspec.NODEFAULT
            yield from settings_of(item, f"{name}.")
        else:
            made = field.default_factory is not msgspec.NODEFAULT
            yield name, field.default_factory() if made else field.default


SETTINGS = [
    *settings_of(msgspec.inspect.type_info(_File)),
    *settings_of(msgspec.inspect.type_info(PlanTable), "plans."),
    *settings_of(msgspec.inspect.type_info(SetTable), "sets."),
]


def settings_told() -> dict[str, str]:
    """Each key that configuration.md has a row for, with the cell of its default."""
    told: dict[str, str] = {}
    section = ""
    for line in read("configuration.md").splitlines():
        if line.startswith("#"):
            table = re.search(r"`\[*([a-z._]+)\]*`", line)
            section = f"{table[1]}." if table else ""
            section = section.replace("targets.", "models.targets.")
        for cells in rows(line):
            key = re.fullmatch(r"`([a-z0-9_]+)`", cells[0])
            if len(cells) == 3 and key is not None and cells[1] != "default":
                assert section + key[1] not in told, f"{section}{key[1]} is told twice"
                told[section + key[1]] = cells[1]
    return told


def test_configuration_names_every_setting_and_no_other() -> None:
    assert sorted(settings_told()) == sorted(name for name, _ in SETTINGS)


@pytest.mark.parametrize(("name", "default"), SETTINGS)
def test_configuration_tells_the_default(name: str, default: object) -> None:
    told = settings_told()[name]
    if default is msgspec.NODEFAULT:
        assert told == "required"
    elif default is None:
        assert "`" not in told, f"{name} has no default of its own"
    else:
        value = tomllib.loads(f"value = {told.strip('`')}", parse_float=Decimal)["value"]
        assert msgspec.convert(value, type(default)) == default


def test_configuration_names_the_headers_that_pass() -> None:
    text = read("configuration.md")
    passing = {*headers.TO_UPSTREAM, *headers.TO_CALLER, *(f"{prefix}…" for prefix in headers.TO_UPSTREAM_PREFIXES)}
    for dialect in DIALECTS.values():
        passing |= {dialect.name, *dialect.to_upstream, *dialect.to_caller}
    assert {name for name in passing if f"`{name}`" not in text} == set()


def test_configuration_names_every_variable_that_is_read() -> None:
    read_in_code = {
        name for file in CODE for name in re.findall(r"environ(?:\.get\(|\[)\"([A-Z_]+)\"", file.read_text("utf-8"))
    }
    told = {name for cells in rows(read("configuration.md")) for name in re.findall(r"^`([A-Z_]+)`", cells[0])}
    told |= {name for cells in rows(read("configuration.md")) for name in re.findall(r", `([A-Z_]+)`$", cells[0])}
    assert told == read_in_code


@pytest.mark.parametrize("example", re.findall(r"```toml\n(.*?)```", read("configuration.md"), re.DOTALL))
def test_the_examples_of_configuration_work(example: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = tmp_path / "tollgate.toml"
    file.write_text(example)
    for name in re.findall(r'api_key_env = "(.*)"', example):
        monkeypatch.setenv(name, "sk-example")
    answer = CliRunner().invoke(main, ["check-config", "--config", str(file)])
    assert answer.exit_code == 0, answer.output


# --- providers.md ---------------------------------------------------------------------------------------------------


def test_providers_knows_each_one_and_its_habits() -> None:
    told = [cells for cells in rows(read("providers.md")) if len(cells) == 7]
    assert told[2:] == [
        [
            f"`{name}`" if name else "any other",
            f"`{provider.base_url or provider.base_url_hint}`" if name else "",
            ", ".join(provider.dialects),
            provider.auth_header,
            str(provider.include_usage).lower(),
            provider.on_disconnect,
            provider.output_limit_field,
        ]
        for name, provider in [*PROVIDERS.items(), ("", ANY_OTHER)]
    ]


def test_providers_says_what_is_odd_about_each_and_who_says_so() -> None:
    _, _, text = read("providers.md").partition("## Where each fact is from")
    assert f"on {READ_ON}" in text
    told = {}
    for section in text.split("\n### ")[1:]:
        heading, _, lines = section.partition("\n")
        told[heading.strip("`")] = [line.removeprefix("- ") for line in lines.splitlines() if line]
    assert told == {
        name: [
            *(
                f"{dialect} elsewhere: `{surface.base_url}`, {surface.auth_header}"
                for dialect, surface in provider.elsewhere.items()
            ),
            *provider.quirks,
            "From: " + "; ".join(f"<{source}>" if "://" in source else source for source in provider.sources),
        ]
        for name, provider in PROVIDERS.items()
    }


def test_providers_names_those_of_the_rarer_habits() -> None:
    extended = ", ".join(f"`{name}`" for name, provider in PROVIDERS.items() if provider.extended_chat)
    hidden = ", ".join(f"`{name}`" for name, provider in PROVIDERS.items() if provider.hidden_context)
    uncounted = ", ".join(f"`{name}`" for name, provider in PROVIDERS.items() if not provider.counts_every_answer)
    told = f"`extended_chat` is true for {extended}, `hidden_context` for {hidden}"
    assert f"{told}, `counts_every_answer` false for {uncounted}.\n" in read("providers.md")


def test_providers_names_the_version_of_the_server_that_was_run() -> None:
    [version] = re.findall(r"xllamacpp==(\S+)", (ROOT / "tests" / "servers" / "llama-cpp.lock").read_text())
    assert f"xllamacpp {version}" in read("providers.md")


# --- the other tables -----------------------------------------------------------------------------------------------


def test_api_names_every_route_and_no_other() -> None:
    app = web.Application()
    add_routes(app, cast(Any, None))
    add_metrics_route(app)
    served = {
        (route.method, re.sub(r"\{.*?\}", "{}", route.resource.canonical))
        for route in app.router.routes()
        if route.resource is not None and route.method != "HEAD"
    }
    told = {
        (method, re.sub(r"\{.*?\}", "{}", path))
        for method, path in re.findall(r"\b(GET|POST|PUT|PATCH|DELETE) (/[\w/{}-]*(?:\.json)?)", read("api.md"))
    }
    assert told == served


def error_codes() -> set[str]:
    """Of every class of the tree, and of each InvalidRequest that is raised with one of its own."""

    def family(kind: type[errors.TollgateError]) -> Iterator[type[errors.TollgateError]]:
        yield kind
        for child in kind.__subclasses__():
            yield from family(child)

    codes = {kind.code for kind in family(errors.TollgateError)}
    for file in CODE:
        if file.is_relative_to(ROOT / "gateway" / "replay"):
            continue
        for node in ast.walk(ast.parse(file.read_text("utf-8"))):
            if isinstance(node, ast.Call) and ast.unparse(node.func).endswith("InvalidRequest"):
                codes |= {word.value.value for word in node.keywords if word.arg == "code"}  # type: ignore[attr-defined]
    return codes


def test_errors_names_every_code() -> None:
    text = read("errors.md")
    assert {code for code in error_codes() if f"`{code}`" not in text} == set()


def test_metrics_are_named_as_they_are_exposed() -> None:
    exposed = {
        f"{family.name}_total" if family.type == "counter" else family.name
        for family in Metrics().registry.collect()
        if family.name.startswith("tollgate_")
    }
    listed = {name for cells in rows(read("operations.md")) for name in re.findall(r"`(tollgate_\w+)", cells[0])}
    assert listed == exposed
    told = {name for page in PAGES for name in re.findall(r"`(tollgate_\w+)", page.read_text("utf-8"))}
    assert told - {"tollgate_app"} == exposed


def commands(group: click.Command, path: str) -> Iterator[tuple[str, click.Command]]:
    if isinstance(group, click.Group):
        context = click.Context(group)
        for name in group.list_commands(context):
            command = group.get_command(context, name)
            assert command is not None
            yield from commands(command, f"{path} {name}")
    else:
        yield path, group


def test_cli_names_every_command_with_its_options() -> None:
    told = {}
    for cells in rows(read("cli.md")):
        usage = re.match(r"`(tollgate(?: [a-z-]+)+)(.*)`", cells[0])
        if usage is not None:
            told[usage[1]] = set(re.findall(r"--[a-z-]+", cells[1])) | set(re.findall(r"[A-Z]{2,}", usage[2]))
    served = {
        path: {name for param in command.params for name in spelled(param)} - SHARED
        for path, command in commands(main, "tollgate")
    }
    assert told == served


def spelled(param: click.Parameter) -> list[str]:
    if isinstance(param, click.Argument):
        return [param.make_metavar(click.Context(main)).strip("[]")]
    return [name for name in param.opts if name.startswith("--")]


def test_the_invariants_have_the_same_numbers_everywhere() -> None:
    audit = (ROOT / "gateway/postgres/functions/audit.sql").read_text("utf-8")
    checked = {int(number) for number in re.findall(r"SELECT (\d+), ", audit)}
    listed = re.findall(r"^(\d+)\. ", (ROOT / "gateway/ledger/README.md").read_text("utf-8"), re.MULTILINE)
    _, _, section = read("ledger.md").partition("## Invariants")
    told = [int(cells[0]) for cells in rows(section.partition("\n## ")[0]) if cells[0].isdigit()]
    assert told == [int(number) for number in listed] == sorted(checked)


def told_of_the_ledger() -> dict[str, list[str]]:
    """What ledger.md has a row for under "How it is tested" → the tests that the row names."""
    _, _, section = read("ledger.md").partition("## How it is tested")
    found = {cells[0].strip("`"): re.findall(r"`(test_\w+)`", cells[-1]) for cells in rows(section)}
    return {what: tests for what, tests in found.items() if tests}


def test_the_ledgers_documents_name_tests_that_exist() -> None:
    files = (ROOT / "tests").rglob("test_*.py")
    exist = {
        name for file in files for name in re.findall(r"^(?:async )?def (test_\w+)", file.read_text("utf-8"), re.M)
    }
    readme = (ROOT / "gateway/ledger/README.md").read_text("utf-8")
    named = {name for page in (read("ledger.md"), readme) for name in re.findall(r"`(test_\w+)`", page)}
    assert named - exist == set()


def test_each_promise_invariant_and_case_has_a_test() -> None:
    wanted = [f"P{number}" for number in range(1, 6)] + [str(number) for number in range(1, 10)]
    wanted += [f"C{number}" for number in (33, 34, 35, 36, 39, 40, 41)]
    assert set(wanted) <= set(told_of_the_ledger())


def test_ledger_names_every_seeded_bug_with_a_test_of_its_files() -> None:
    told = told_of_the_ledger()
    for bug in BUGS:
        text = "".join((ROOT / "tests" / name).read_text("utf-8") for name in bug.tests)
        assert [name for name in told[bug.name] if f"def {name}(" in text], bug.name


# --- links ----------------------------------------------------------------------------------------------------------


def anchors(page: Path) -> set[str]:
    """As GitHub makes them of headings."""
    headings = re.findall(r"^#+ (.*)$", page.read_text("utf-8"), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_links_lead_somewhere(page: Path) -> None:
    for link in re.findall(r"\]\(([^)\s]+)\)", page.read_text("utf-8")):
        if re.match(r"[a-z]+:", link):
            continue
        name, _, anchor = link.partition("#")
        target = (page.parent / name).resolve() if name else page
        assert target.exists(), f"{page.name} links to {link}"
        assert not anchor or anchor in anchors(target), f"{page.name} links to {link}"


def test_readme_lists_every_document() -> None:
    readme = (ROOT / "README.md").read_text("utf-8")
    unlisted = {page.name for page in DOCS if f"(docs/{page.name})" not in readme}
    assert unlisted <= {"dependencies.md"}  # for contributors: CONTRIBUTING.md names it
