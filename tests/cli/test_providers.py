"""`tollgate providers` shows the table, and all of one record."""

import json

from click.testing import CliRunner, Result

from gateway.cli import main
from gateway.upstream.providers import PROVIDERS


def providers(*arguments: str) -> Result:
    return CliRunner().invoke(main, ["providers", *arguments], catch_exceptions=False)


def test_all_are_listed_with_their_addresses() -> None:
    shown = providers().stdout
    for name, record in PROVIDERS.items():
        assert name in shown
        assert (record.base_url or record.base_url_hint) in shown


def test_of_one_everything_is_said() -> None:
    shown = providers("deepseek").stdout
    record = PROVIDERS["deepseek"]
    said = [record.base_url, *(each.base_url for each in record.elsewhere.values()), *record.quirks, *record.sources]
    assert [each for each in said if each not in shown] == []


def test_programs_get_the_records() -> None:
    everything = json.loads(providers("--json").stdout)["data"]
    assert [each["name"] for each in everything] == list(PROVIDERS)
    [one] = json.loads(providers("zai", "--json").stdout)["data"]
    assert one["elsewhere"]["anthropic-messages"]["base_url"] == "https://api.z.ai/api/anthropic/v1"


def test_a_name_that_is_not_known_is_wrong_usage() -> None:
    result = providers("opneai")
    assert result.exit_code == 2
    assert "opneai is not known here" in result.output
