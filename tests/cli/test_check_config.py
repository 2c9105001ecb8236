"""`tollgate check-config` says what a configuration means and what is wrong with it."""

import json
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from gateway.cli import main

NAMES = (
    "DATABASE_URL",
    "OPENAI_API_KEY",
    "OPENAI_BASE_URL",
    "ANTHROPIC_API_KEY",
    "ANTHROPIC_BASE_URL",
    "GEMINI_API_KEY",
    "GEMINI_BASE_URL",
    "TOLLGATE_OPERATOR_KEY",
    "TOLLGATE_METRICS_TOKEN",
    "TOLLGATE_JWT_SECRET",
)


def check(*arguments: str, **environ: str) -> Result:
    env: dict[str, str | None] = dict.fromkeys(NAMES) | environ
    return CliRunner().invoke(main, ["check-config", *arguments], env=env, catch_exceptions=False)


@pytest.fixture
def config(tmp_path: Path) -> Path:
    return tmp_path / "tollgate.toml"


def test_without_a_file_or_a_key_no_model_is_served(config: Path) -> None:
    result = check()
    assert result.exit_code == 0
    assert "No upstream" in result.stdout


def test_what_the_environment_gives_is_said_and_its_secrets_are_not() -> None:
    secrets = {"OPENAI_API_KEY": "sk-very-secret", "TOLLGATE_OPERATOR_KEY": "op-very-secret"}
    secrets["DATABASE_URL"] = "postgresql://u:very-secret@db/tollgate"
    for result in (check(**secrets), check("--json", **secrets)):
        assert result.exit_code == 0
        assert "very-secret" not in result.output
    view = json.loads(check("--json", **secrets).stdout)
    assert (view["database"], view["operator_key"], view["models"] > 50) == ("DATABASE_URL", True, True)
    assert view["upstreams"] == [
        {"name": "openai", "provider": "openai", "base_url": "https://api.openai.com/v1", "has_key": True}
    ]


def test_a_mistake_is_shown_with_its_file_and_line(config: Path) -> None:
    config.write_text("credits_per_usd = 1000\ncredit_limit = 7\n")
    result = check("--config", str(config))
    assert result.exit_code == 1
    assert f"{config}:2" in result.stderr
    assert "credit_limit" in result.stderr


def test_a_file_that_is_not_there_is_refused(config: Path) -> None:
    assert check("--config", str(config)).exit_code == 1


def test_models_without_a_price_are_named(config: Path) -> None:
    config.write_text(
        '[[upstreams]]\nname = "main"\nprovider = "openai"\nmodels = ["gpt-4o-mini", "gpt-0"]\n'
        '[[models]]\nname = "fast"\ntargets = [{ upstream = "main", model = "gpt-4o-mini" },'
        ' { upstream = "main", model = "gpt-00" }]\n'
    )
    result = check("--config", str(config), "--json")
    assert result.exit_code == 1
    assert json.loads(result.stdout)["unpriced"] == ["gpt-0 (main: openai/gpt-0)", "fast (main: openai/gpt-00)"]
    assert "gpt-0 (main: openai/gpt-0)" in check("--config", str(config)).stdout


def test_whose_tokens_are_taken_is_said_and_their_secret_is_not(config: Path) -> None:
    assert "tokens        none" in check().stdout
    config.write_text('[jwt]\nalgorithms = ["HS256"]\nissuer = "https://login.example"\naudience = "tollgate"\n')
    secret = {"TOLLGATE_JWT_SECRET": "very-secret-" * 3}
    text, view = (check("--config", str(config), *options, **secret).stdout for options in ((), ("--json",)))
    assert "tokens        HS256 of https://login.example" in text
    assert json.loads(view)["tokens"] == {"algorithms": ["HS256"], "issuer": "https://login.example"}
    assert "very-secret" not in text + view


def test_plans_are_shown(config: Path) -> None:
    plans = json.loads(check("--json").stdout)["plans"]
    assert [(plan["id"], plan["credits"]) for plan in plans][:2] == [
        ("explorer", "400.000000"),
        ("growth", "2000.000000"),
    ]
    assert "20,000.000000" in check().stdout
    config.write_text('plans_file = "plans.toml"')
    (config.parent / "plans.toml").write_text('[[plans]]\nid = "own"\nname = "Own"\ncredits = "1.5"\nprice = 1\n')
    refused = check("--config", str(config))
    assert refused.exit_code == 1
    assert "plans.toml:5: plans[0].price: unknown key" in refused.stderr
