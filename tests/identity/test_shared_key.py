"""A shared key admits who holds it and nobody else."""

import pytest

from gateway.core.errors import Unauthenticated
from gateway.identity.shared_key import SharedKey


def test_the_key_admits_and_anything_else_does_not() -> None:
    key = SharedKey("correct horse", whose="operator")
    key.admit("correct horse")
    for wrong in ("", "correct", "correct horse ", "CORRECT HORSE", "\udcff", "é"):
        with pytest.raises(Unauthenticated, match="operator"):
            key.admit(wrong)


def test_the_key_does_not_show_itself() -> None:
    assert "horse" not in repr(SharedKey("correct horse", whose="operator"))
