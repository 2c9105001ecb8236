import json

import pytest

from gateway.replay.request import BadRequest, fingerprint, read_chat_request

ASKED = {"model": "gpt-4o", "messages": [{"role": "user", "content": "Hello"}], "temperature": 0.5}


def body(**changes: object) -> bytes:
    return json.dumps({**ASKED, **changes}).encode()


@pytest.mark.parametrize(
    ("bad", "param"),
    [
        (b"", None),
        (b"{", None),
        (b"[]", None),
        (b"\xff", None),
        (b"[" * 100_000, None),
        (body(model=None), "model"),
        (body(model=7), "model"),
        (body(messages=[]), "messages"),
        (body(messages=["hi"]), "messages"),
        (body(n=0), "n"),
        (body(n=True), "n"),
        (body(n=129), "n"),
        (body(max_tokens=0), "max_tokens"),
        (body(max_completion_tokens="5"), "max_completion_tokens"),
    ],
)
def test_a_bad_request_names_its_parameter(bad: bytes, param: str | None) -> None:
    with pytest.raises(BadRequest) as refusal:
        read_chat_request(bad)
    assert refusal.value.param == param


def test_the_larger_limit_counts_and_null_is_no_limit() -> None:
    assert read_chat_request(body(max_tokens=5, max_completion_tokens=9)).limit == 9
    assert read_chat_request(body(max_tokens=None)).limit is None


def test_what_a_gateway_splices_in_changes_neither_match_nor_count() -> None:
    plain = read_chat_request(body())
    spliced = read_chat_request(
        body(model="alias", stream=False, max_tokens=7, stream_options={"include_usage": True}, user=None)
    )
    assert spliced.fingerprint == plain.fingerprint
    assert spliced.prompt_tokens == plain.prompt_tokens


def test_what_was_asked_changes_the_match() -> None:
    others: list[dict[str, object]] = [
        {"temperature": 0.6},
        {"stream": True},
        {"messages": [{"role": "user", "content": "Hello!"}]},
    ]
    assert len({fingerprint(ASKED), *(fingerprint({**ASKED, **other}) for other in others)}) == 4


def test_the_order_of_keys_does_not_change_the_match() -> None:
    assert fingerprint(dict(reversed(ASKED.items()))) == fingerprint(ASKED)


def test_prompt_tokens_are_a_quarter_of_the_bytes_and_a_flat_rate_an_image() -> None:
    text = read_chat_request(body(messages=[{"role": "user", "content": "x" * 4000}]))
    assert 1000 <= text.prompt_tokens <= 1020
    image = {"type": "image_url", "image_url": {"url": "data:image/png;base64," + "A" * 100_000}}
    parts = [{"type": "text", "text": "what is it?"}, image, image]
    picture = read_chat_request(body(messages=[{"role": "user", "content": parts}]))
    assert 2 * 85 < picture.prompt_tokens < 2 * 85 + 30
    assert picture.prompt == "what is it?"
