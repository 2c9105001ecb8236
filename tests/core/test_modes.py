"""Kinds of models and their dialects."""

from typing import get_args

import pytest

from gateway.core.dialect import DialectName
from gateway.core.modes import ANY_MODE, DIALECTS_OF_MODE, dialects_of


def test_every_dialect_is_for_some_kind_of_model() -> None:
    assert frozenset.union(*DIALECTS_OF_MODE.values()) == frozenset(get_args(DialectName))


def test_of_what_nothing_is_known_nothing_is_excluded() -> None:
    assert dialects_of(ANY_MODE) == frozenset(get_args(DialectName))


@pytest.mark.parametrize(
    ("mode", "dialect"),
    [
        ("chat", "openai-embeddings"),
        ("embedding", "openai-chat"),
        ("completion", "openai-chat"),
        ("rerank", "openai-chat"),
    ],
)
def test_a_kind_has_only_its_own(mode: str, dialect: DialectName) -> None:
    assert dialect not in dialects_of(mode)
