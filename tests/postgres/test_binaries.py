import os
from pathlib import Path

import pytest

from gateway.postgres.binaries import BinariesMissing, copy_of_wheel, find_binaries, wheel_bin


def test_the_operators_choice_is_taken() -> None:
    chosen = os.environ["PG_BIN"]
    assert find_binaries({"PG_BIN": chosen}).bin == Path(chosen)


def test_an_operators_choice_that_does_not_fit_is_not_replaced(tmp_path: Path) -> None:
    with pytest.raises(BinariesMissing, match="no initdb and postgres"):
        find_binaries({"PG_BIN": str(tmp_path)})
    with pytest.raises(BinariesMissing, match="version 9, which made the data folder"):
        find_binaries({"PG_BIN": os.environ["PG_BIN"]}, major=9)


def test_programs_too_old_are_refused(tmp_path: Path) -> None:
    for name in ("initdb", "postgres"):
        program = tmp_path / name
        program.write_text("#!/bin/sh\necho 'postgres (PostgreSQL) 14.9 (Debian 14.9-1)'\n")
        program.chmod(0o755)
    with pytest.raises(BinariesMissing, match="version 14"):
        find_binaries({"PG_BIN": str(tmp_path)})


def test_the_wheel_brings_the_version_that_an_existing_folder_needs() -> None:
    found = find_binaries({}, major=18)
    assert found.major == 18


def test_the_wheels_programs_are_copied_once(tmp_path: Path) -> None:
    found = find_binaries({"PG_BIN": str(wheel_bin())})
    copied = copy_of_wheel(found, tmp_path)
    assert copied.bin.is_relative_to(tmp_path)
    assert find_binaries({"PG_BIN": str(copied.bin)}).major == found.major
    made_at = copied.bin.stat().st_ctime_ns
    assert copy_of_wheel(found, tmp_path) == copied
    assert copied.bin.stat().st_ctime_ns == made_at


def test_programs_outside_the_wheel_stay_where_they_are(tmp_path: Path) -> None:
    copied = copy_of_wheel(find_binaries({"PG_BIN": str(wheel_bin())}), tmp_path)
    in_place = find_binaries({"PG_BIN": str(copied.bin)})
    assert copy_of_wheel(in_place, tmp_path / "other") == in_place
