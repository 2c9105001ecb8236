"""Plans are read strictly and exactly, and the shipped file is what holds without one."""

from pathlib import Path

import pytest

from gateway.core.strict_toml import SettingsError
from gateway.ledger.plans import DEFAULT_PLANS, Plan, read_plans
from gateway.settings import load_settings

SHIPPED = Path(__file__).parents[2] / "config" / "plans.toml"
ONE = '[[plans]]\nid = "a"\nname = "A"\ncredits = 1\n'


def test_the_shipped_file_says_what_the_default_plans_are() -> None:
    assert read_plans(SHIPPED.read_text("utf-8"), name="plans.toml") == DEFAULT_PLANS
    assert [(plan.name, plan.amount_ucr) for plan in DEFAULT_PLANS] == [
        ("Explorer", 400_000_000),
        ("Growth", 2_000_000_000),
        ("Pro", 7_000_000_000),
        ("Enterprise", 20_000_000_000),
    ]
    assert {plan.period for plan in DEFAULT_PLANS} == {"month"}


def test_every_term_of_a_plan_can_be_told() -> None:
    text = (
        '[[plans]]\nid = "team-1"\nname = "Team"\ncredits = "0.5"\nperiod = "week"\nrollover_min_credits = 1\n'
        'rollover_max_credits = "2.000001"\npriority = 7\ncredit_line_credits = 10\n'
    )
    assert read_plans(text, name="p") == (
        Plan(
            id="team-1",
            name="Team",
            amount_ucr=500_000,
            period="week",
            rollover_min_ucr=1_000_000,
            rollover_max_ucr=2_000_001,
            priority=7,
            credit_line_ucr=10_000_000,
        ),
    )


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (ONE + "credit = 1", "p:5: plans[0].credit: unknown key; did you mean credits?"),
        ("plan = 1", "p:1: plan: unknown key; did you mean plans?"),
        (ONE.replace("= 1", "= 1.5"), "p:4: plans[0].credits: Expected `int | str`, got `decimal`"),
        (ONE.replace("= 1", '= "1.0000001"'), "p:4: plans[0].credits: must have at most 6 decimal places"),
        (ONE.replace("= 1", '= "one"'), "p:4: plans[0].credits: must be a finite decimal number of credits"),
        (ONE.replace("= 1", "= 99999999999"), "p:4: plans[0].credits: must be between 0 and"),
        (ONE.replace("= 1", "= -1"), "p:4: plans[0].credits: must be a finite number and not negative"),
        (ONE.replace("= 1", "= 0"), "p:4: plans[0].credits: a plan brings credits, or a credit line"),
        (ONE.replace("= 1", "= true"), "p:4: plans[0].credits: Expected `int | str`, got `bool`"),
        (ONE + 'period = "fortnight"', "p:5: plans[0].period: Invalid enum value 'fortnight'"),
        (ONE + "priority = 32768", "p:5: plans[0].priority: Expected `int` <= 32767"),
        (ONE + "rollover_min_credits = 1", "p:5: plans[0].rollover_min_credits: must not be more than"),
        (ONE + ONE, "p:6: plans[1].id: a is the id of another plan"),
        (ONE.replace('"a"', '"A b"'), "p:2: plans[0].id: Expected `str` matching regex"),
        (ONE.replace('"A"', '""'), "p:3: plans[0].name: Expected `str` matching regex"),
        ('[[plans]]\nid = "a"\ncredits = 1', "p:1: plans[0]: Object missing required field `name`"),
    ],
)
def test_a_wrong_plan_is_refused_with_its_file_line_and_key(text: str, message: str) -> None:
    with pytest.raises(SettingsError) as refused:
        read_plans(text, name="p")
    assert message in str(refused.value)


def test_a_configuration_names_a_file_of_plans_beside_it(tmp_path: Path) -> None:
    (tmp_path / "tollgate.toml").write_text('plans_file = "mine.toml"')
    (tmp_path / "mine.toml").write_text(ONE)
    assert [plan.id for plan in load_settings(tmp_path / "tollgate.toml", {}).plans] == ["a"]
    (tmp_path / "mine.toml").write_text("plans = 7")
    with pytest.raises(SettingsError, match=r"mine\.toml:1: plans"):
        load_settings(tmp_path / "tollgate.toml", {})
    (tmp_path / "mine.toml").unlink()
    with pytest.raises(SettingsError, match="No such file"):
        load_settings(tmp_path / "tollgate.toml", {})
