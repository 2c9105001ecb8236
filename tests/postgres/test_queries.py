import asyncpg
import pytest

from gateway.postgres.queries import Statements, load, nouns

FILE = """
-- Statements about organisations.

-- name: find_org
-- One row or none.
SELECT 1;

-- name: rename_org
UPDATE org SET name = $2 WHERE org_id = $1
"""


def test_each_statement_goes_by_the_name_above_it() -> None:
    statements = Statements("orgs", FILE)
    assert statements.find_org == "-- One row or none.\nSELECT 1"
    assert statements.rename_org == "UPDATE org SET name = $2 WHERE org_id = $1"
    assert [name for name, _ in statements] == ["find_org", "rename_org"]


def test_a_name_that_no_statement_has_is_an_attribute_error_naming_the_file() -> None:
    with pytest.raises(AttributeError, match=r"queries/orgs\.sql has no statement named drop_org"):
        _ = Statements("orgs", FILE).drop_org


def test_a_name_given_twice_is_refused() -> None:
    with pytest.raises(ValueError, match="find_org twice"):
        Statements("orgs", FILE + "\n-- name: find_org\nSELECT 2")


@pytest.mark.parametrize("line", ["-- name: Find", "-- name find", "-- name: two words", "SELECT 1"])
def test_a_malformed_name_line_is_refused(line: str) -> None:
    with pytest.raises(ValueError, match=r"queries/orgs\.sql"):
        Statements("orgs", f"{line}\nSELECT 1")


@pytest.mark.usefixtures("pool")
async def test_every_statement_is_valid_on_the_migrated_schema(owner: asyncpg.Connection) -> None:
    for noun in nouns():
        for name, sql in load(noun):
            try:
                await owner.prepare(sql)
            except asyncpg.PostgresError as error:
                pytest.fail(f"{noun}.{name}: {error}")
