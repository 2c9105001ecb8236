"""What went wrong, both ways."""

import json
from typing import Any

import pytest

from gateway.core.translation.errors import (
    CHAT_ERROR,
    TYPE_BY_STATUS,
    TYPE_BY_WORD,
    error_to_chat,
    error_to_messages,
    messages_error,
)


def to_messages(status: int, error: Any, **more: Any) -> tuple[int, Any]:
    made = error_to_messages(status, json.dumps({"error": error}).encode(), **more)
    return made.status, json.loads(made.body)


def to_chat(status: int, error: Any) -> tuple[int, Any]:
    made = error_to_chat(status, json.dumps({"type": "error", "error": error}).encode())
    return made.status, json.loads(made.body)["error"]


STATUSES = [
    (400, 400, "invalid_request_error"),
    (401, 401, "authentication_error"),
    (402, 402, "billing_error"),
    (403, 403, "permission_error"),
    (404, 404, "not_found_error"),
    (408, 408, "timeout_error"),
    (409, 409, "invalid_request_error"),
    (413, 413, "request_too_large"),
    (422, 422, "invalid_request_error"),
    (429, 429, "rate_limit_error"),
    (500, 500, "api_error"),
    (502, 502, "api_error"),
    (503, 529, "overloaded_error"),
    (504, 504, "timeout_error"),
]


@pytest.mark.parametrize(("status", "made", "type_"), STATUSES)
def test_a_chats_status_names_anthropics_type(status: int, made: int, type_: str) -> None:
    error = {"message": "No.", "type": "whatever", "param": None, "code": None}
    assert to_messages(status, error) == (made, {"type": "error", "error": {"type": type_, "message": "No."}})


@pytest.mark.parametrize(
    ("status", "made", "type_", "chat"),
    [
        (400, 400, "invalid_request_error", ("invalid_request_error", None)),
        (401, 401, "authentication_error", ("invalid_request_error", "invalid_api_key")),
        (402, 402, "billing_error", ("insufficient_quota", "insufficient_quota")),
        (403, 403, "permission_error", ("invalid_request_error", "permission_denied")),
        (404, 404, "not_found_error", ("invalid_request_error", "model_not_found")),
        (413, 413, "request_too_large", ("invalid_request_error", "request_too_large")),
        (429, 429, "rate_limit_error", ("requests", "rate_limit_exceeded")),
        (500, 500, "api_error", ("server_error", None)),
        (504, 504, "timeout_error", ("timeout_error", "timeout")),
        (529, 503, "overloaded_error", ("service_unavailable_error", "overloaded")),
        (409, 409, "conflict_error", ("invalid_request_error", None)),
        (500, 500, "unheard_of", ("server_error", None)),
    ],
)
def test_anthropics_type_names_the_chats(status: int, made: int, type_: str, chat: tuple[str, str | None]) -> None:
    expected = {"message": "No.", "type": chat[0], "param": None, "code": chat[1]}
    assert to_chat(status, {"type": type_, "message": "No."}) == (made, expected)


def test_the_request_id_is_told() -> None:
    assert to_messages(400, {"message": "No."}, request_id="req_1")[1]["request_id"] == "req_1"


def test_a_prompt_that_is_too_long_is_recognised_on_both_sides() -> None:
    _, made = to_messages(400, {"message": "200001 tokens.", "code": "context_length_exceeded"})
    assert made["error"]["message"] == "prompt is too long: 200001 tokens."
    assert to_chat(400, made["error"])[1]["code"] == "context_length_exceeded"
    again = to_messages(400, to_chat(400, made["error"])[1])[1]["error"]["message"]
    assert again == made["error"]["message"]


def test_an_empty_account_is_not_tried_again() -> None:
    error = {"message": "You exceeded your quota.", "type": "insufficient_quota", "code": "insufficient_quota"}
    status, made = to_messages(429, error)
    assert (status, made["error"]["type"]) == (402, "billing_error")


@pytest.mark.parametrize("body", [b"", b"<html>Bad gateway</html>", b"[]", b"\xff", b'{"error":3}', b'{"a":' * 100_000])
def test_bodies_that_say_nothing_still_become_errors(body: bytes) -> None:
    message = "The provider answered with status 502."
    assert json.loads(error_to_messages(502, body).body)["error"] == {"type": "api_error", "message": message}
    assert json.loads(error_to_chat(502, body).body)["error"]["message"] == message


def test_errors_that_are_only_a_text_or_stand_at_the_top() -> None:
    assert to_messages(400, "No.")[1]["error"]["message"] == "No."
    made = error_to_messages(422, b'{"object":"error","message":"No.","type":"invalid_request"}')
    assert json.loads(made.body)["error"]["message"] == "No."


@pytest.mark.parametrize(("word", "type_"), TYPE_BY_WORD.items())
def test_in_a_stream_the_code_names_the_type_or_else_the_type(word: str, type_: str) -> None:
    assert messages_error({"message": "No.", "code": word, "type": "x"})["type"] == type_
    assert messages_error({"message": "No.", "code": None, "type": word})["type"] == type_


@pytest.mark.parametrize(("status", "type_"), TYPE_BY_STATUS.items())
def test_in_a_stream_the_code_may_be_a_status(status: int, type_: str) -> None:
    assert messages_error({"message": "No.", "code": status})["type"] == type_


def test_types_that_are_no_words_name_nothing() -> None:
    assert to_chat(500, {"type": {}, "message": "No."})[1]["type"] == "server_error"
    assert messages_error({"type": [], "code": {}, "message": []})["type"] == "api_error"


def test_the_tables_know_each_others_types() -> None:
    types = {*TYPE_BY_STATUS.values(), *TYPE_BY_WORD.values()}
    assert types <= CHAT_ERROR.keys()
    for type_ in types:
        assert messages_error(to_chat(400, {"type": type_, "message": "No."})[1])["type"] == type_
