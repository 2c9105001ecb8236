"""docs/translation.md says what the code does."""

import re
from pathlib import Path

import pytest

from gateway.core.translation import (
    answers_to_chat,
    answers_to_messages,
    errors,
    requests_to_chat,
    requests_to_messages,
    stop_reasons,
)
from gateway.core.translation.block_writer import HELD_CHARS_MAX
from gateway.core.translation.media import IMAGE_TYPES
from gateway.core.translation.reasoning import ADAPTIVE_EFFORT, BUDGET_PERCENT, BUDGET_TOKENS_MIN, CARRIED, FORMAT
from gateway.core.translation.responses import endings, requests_from_chat
from gateway.core.translation.responses import requests_to_chat as requests_to_chat_of_responses
from gateway.core.translation.responses.items import RESPONSES_FORMAT
from gateway.core.translation.responses.requests_from_chat import ResponsesTarget
from gateway.core.translation.tools import CHAT_CHOICE
from gateway.core.translation.turns_to_messages import TOOL_ERROR

PAGE = (Path(__file__).parents[3] / "docs" / "translation.md").read_text("utf-8")


def table(head: str) -> list[list[str]]:
    """The rows below this head, without back-ticks."""
    below = PAGE.split(f"\n{head}\n")[1].split("\n\n")[0].split("\n")[1:]
    return [[cell.strip().replace("`", "") for cell in row.split("|")[1:-1]] for row in below]


@pytest.mark.parametrize(
    ("head", "rows"),
    [
        ("| `stop_reason` | `finish_reason` |", stop_reasons.FINISH_REASON.items()),
        ("| `finish_reason` | `stop_reason` |", stop_reasons.STOP_REASON.items()),
        (
            "| `service_tier` of a chat request | of a messages request |",
            requests_to_messages.SERVICE_TIER.items(),
        ),
        (
            "| `reasoning_effort` | budget, of `max_tokens` | adaptive effort |",
            [(effort, f"{share} %", ADAPTIVE_EFFORT[effort]) for effort, share in BUDGET_PERCENT.items()],
        ),
        ("| `finish_reason` | `incomplete_details.reason` |", endings.INCOMPLETE.items()),
        ("| status | type of messages |", [(str(status), type_) for status, type_ in errors.TYPE_BY_STATUS.items()]),
        (
            "| type of messages | `type` of a chat | `code` |",
            [(type_, chat, code or "") for type_, (chat, code) in errors.CHAT_ERROR.items()],
        ),
    ],
)
def test_a_table_is_the_codes(head: str, rows: list[tuple[str, ...]]) -> None:
    assert table(head) == [list(row) for row in rows]


def test_values_that_are_no_loss_are_named() -> None:
    for neutral in (requests_to_messages.NEUTRAL, requests_to_chat.NEUTRAL):
        for key, values in neutral.items():
            assert f"`{key}: {values[0].decode()}`" in PAGE
    assert all(f"`{key}`" in PAGE for key in requests_to_messages.HINTS)


def test_values_that_are_no_loss_to_responses_are_named() -> None:
    section = PAGE.split("## OpenAI's Responses")[1]
    for key, values in requests_to_chat_of_responses.NEUTRAL.items():
        assert f"`{key}: {values[0].decode()}`" in section
    named = (*requests_to_chat_of_responses.HINTS, *requests_to_chat_of_responses.PASSED)
    assert all(f"`{key}`" in section for key in named)
    assert f"not below {requests_from_chat.OUTPUT_TOKENS_MIN}" in section
    assert f"`{RESPONSES_FORMAT}`" in section
    assert f"at most {HELD_CHARS_MAX >> 20} MiB" in section
    there = requests_from_chat.NEUTRAL.keys() - {"stop"}
    passed = {"top_p", "verbosity", "metadata"}
    assert there == requests_to_messages.NEUTRAL.keys() - passed
    assert all(f"`{field}`" in section for field in ResponsesTarget.__struct_fields__)


def test_numbers_and_names_are_the_codes() -> None:
    text = re.sub(r"\s+", " ", PAGE)
    assert f"at least {BUDGET_TOKENS_MIN} tokens" in text
    assert f"`{CARRIED}`" in text
    assert f"`{FORMAT}`" in text
    assert f"`{TOOL_ERROR}`" in text
    assert f"`{answers_to_messages.UNREADABLE_ARGUMENTS}`" in text
    assert f"at most {HELD_CHARS_MAX >> 20} MiB" in text
    assert f"no more than {requests_to_chat.STOP_MAX} to a chat" in text
    assert {f"image/{name.lower()}" for name in ("JPEG", "PNG", "GIF", "WebP")} == IMAGE_TYPES
    assert all(f"`{chat}` ⇄ `{kind}`" in text for kind, chat in CHAT_CHOICE.items())


def test_tables_of_one_way_are_those_of_the_other() -> None:
    assert {value: key for key, value in requests_to_messages.SERVICE_TIER.items()} == requests_to_chat.SERVICE_TIER
    assert {value: key for key, value in answers_to_messages.SERVICE_TIER.items()} == answers_to_chat.SERVICE_TIER
    for finish, stop in stop_reasons.STOP_REASON.items():
        assert stop_reasons.STOP_REASON[stop_reasons.FINISH_REASON[stop]] == stop, finish
