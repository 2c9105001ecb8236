"""The operator's key admits the operator and nobody else."""

import pytest

from gateway.core.errors import Unauthenticated
from gateway.identity.operator import OperatorKey


def test_the_key_admits_and_anything_else_does_not() -> None:
    key = OperatorKey("correct horse")
    key.admit("correct horse")
    for wrong in ("", "correct", "correct horse ", "CORRECT HORSE", "\udcff", "é"):
        with pytest.raises(Unauthenticated):
            key.admit(wrong)


def test_the_key_does_not_show_itself() -> None:
    assert "horse" not in repr(OperatorKey("correct horse"))
