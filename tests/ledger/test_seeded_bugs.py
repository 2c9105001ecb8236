"""The seeded bugs stay what they are: each can still be put into the source, and names tests that exist."""

import pytest

from tests.ledger.seeded_bugs import BUGS, ROOT, Bug


@pytest.mark.parametrize("bug", BUGS, ids=lambda bug: bug.name)
def test_a_seeded_bug_still_fits_the_source(bug: Bug) -> None:
    source = (ROOT / bug.file).read_text("utf-8")
    assert bug.put_into(source) != source
    assert bug.tests
    assert all((ROOT / "tests" / name).is_file() for name in bug.tests)


def test_seeded_bugs_have_names_of_their_own() -> None:
    assert len({bug.name for bug in BUGS}) == len(BUGS)
