"""`POST /v1/messages` and its neighbours: who may ask, what is refused and how, what passes of the headers."""

import asyncio
from typing import Any

import msgspec
import pytest

from gateway.core.caller import KeyKind
from gateway.relay.counting import AT_ONCE_MAX
from tests.fakes.hostile_upstream import HostileUpstream
from tests.provider import Provider
from tests.relay.messages import COUNT_TOKENS, MESSAGES, message, speaking_messages
from tests.road import Road, Roads, until, upstream_at

USER = [{"role": "user", "content": "hi"}]


def content(**block: Any) -> dict[str, Any]:
    return message(messages=[{"role": "user", "content": [block]}])


BAD: list[tuple[bytes | dict[str, Any], str | None, str]] = [
    # body, param, code
    (b"", None, "invalid_request"),
    (b"[" * 100_000, None, "invalid_request"),
    ({"model": "plain", "messages": USER}, "max_tokens", "invalid_request"),
    (message(max_tokens=0), "max_tokens", "invalid_request"),
    (message(max_tokens=True), "max_tokens", "invalid_request"),
    (message(stream="yes"), "stream", "invalid_request"),
    (message(messages=[]), "messages", "invalid_request"),
    (message(messages=[{"role": "user", "content": 5}]), "messages[0].content", "invalid_request"),
    (message(Max_Tokens=5), "max_tokens", "invalid_request"),
    (message(Model="dear"), "model", "invalid_request"),
    (message(maxTokens=5), "max_tokens", "invalid_request"),
    (message(models=["a"]), "models", "invalid_request"),
    (message(tools=5), "tools", "invalid_request"),
    (message(thinking={"type": "enabled", "budget_tokens": "5"}), "thinking.budget_tokens", "invalid_request"),
    (message(speed="fast"), "speed", "service_tier_not_priced"),
    (message(inference_geo="us"), "inference_geo", "service_tier_not_priced"),
    (message(container="container_1"), "container", "unknown_id"),
    (message(container={"id": "container_1"}), "container", "unknown_id"),
    (message(container={"skills": [{"type": "custom", "skill_id": "x"}]}), "container.skills", "unknown_id"),
    (content(type="container_upload", file_id="file_1"), "messages[0].content[0].file_id", "unknown_id"),
    (
        content(type="document", source={"type": "file", "file_id": "file_1"}),
        "messages[0].content[0].source.file_id",
        "unknown_id",
    ),
    (
        content(type="tool_result", content=[{"type": "image", "source": {"type": "file", "file_id": "f"}}]),
        "messages[0].content[0].content[0].source.file_id",
        "unknown_id",
    ),
    (
        message(tools=[{"type": "advisor_20260301", "name": "advisor", "model": "dear"}]),
        "tools[0].model",
        "hosted_tool_not_priced",
    ),
    (
        b'{"model":"plain","max_tokens":5,"max_tokens":500,"messages":[{"role":"user","content":"hi"}]}',
        "max_tokens",
        "invalid_request",
    ),
    (message("unpriced"), "model", "model_not_priced"),
]


@pytest.fixture
async def road(roads: Roads, hostile: HostileUpstream) -> Road:
    return await roads.open(speaking_messages(hostile.url("well_behaved")))


def told(body: bytes) -> dict[str, Any]:
    error = msgspec.json.decode(body)
    assert set(error) == {"type", "error", "request_id"}
    assert error["type"] == "error"
    return dict(error["error"])


async def test_a_request_that_is_malformed_is_400_and_names_the_field(road: Road, hostile: HostileUpstream) -> None:
    for body, param, code in BAD:
        answer = await road.ask(body, path=MESSAGES)
        error = told(answer.body)
        seen = (answer.status, error["type"], error.get("param"), error["code"])
        assert seen == (400, "invalid_request_error", param, code), (body, error)
        assert answer.json["request_id"] == answer.headers["request-id"] == answer.headers["x-request-id"]
        assert "x-should-retry" not in answer.headers
    assert hostile.requests == []
    assert await road.books() == []


async def test_a_key_may_stand_in_either_header_but_not_two_different_ones(roads: Roads, provider: Provider) -> None:
    road = await roads.open(speaking_messages(provider.base_url))
    key, other = road.key, await road.new_key()
    good = [
        {"x-api-key": key},
        {"authorization": f"Bearer {key}"},
        {"x-api-key": key, "authorization": f"Bearer {key}"},
    ]
    for headers in good:
        assert (await road.ask(message(), path=MESSAGES, key="", headers=headers)).status == 200
    bad = [{}, {"x-api-key": ""}, {"x-api-key": "nonsense"}, {"x-api-key": key, "authorization": f"Bearer {other}"}]
    for headers in bad:
        answer = await road.ask(message(), path=MESSAGES, key="", headers=headers)
        error = told(answer.body)
        assert (answer.status, error["type"], error["code"]) == (401, "authentication_error", "invalid_api_key")
    assert len(await road.books()) == len(good)
    none = await road.ask(message(), path=MESSAGES, key="")
    assert "`x-api-key: <key>` or `Authorization: Bearer <key>`" in told(none.body)["message"]


async def test_a_key_in_anthropics_header_is_none_in_openais_dialect(roads: Roads, provider: Provider) -> None:
    road = await roads.open(upstream_at(provider.base_url))
    answer = await road.ask({"model": "plain", "messages": USER}, key="", headers={"x-api-key": road.key})
    assert answer.status == 401


async def test_the_version_and_the_betas_pass_and_no_credential_does(road: Road, hostile: HostileUpstream) -> None:
    await road.ask(
        message(),
        path=MESSAGES,
        key="",
        headers={
            "x-api-key": road.key,
            "anthropic-version": "2023-01-01",
            "anthropic-beta": "context-1m-2025-08-07",
            "openai-beta": "assistants=v2",
            "cookie": "session=secret",
        },
    )
    await road.ask(message(), path=MESSAGES)
    heads = [request.head.decode().lower() for request in hostile.requests]
    assert [head.partition("\r\n")[0] for head in heads] == ["post /well_behaved/v1/messages http/1.1"] * 2
    assert "\r\nanthropic-version: 2023-01-01\r\nanthropic-beta: context-1m-2025-08-07\r\n" in heads[0]
    assert "\r\nanthropic-version: 2023-06-01\r\n" in heads[1]
    for head in heads:
        assert "\r\nx-api-key: sk-of-the-operator\r\n" in head
        assert "authorization" not in head
        assert road.key.lower() not in head
        assert "secret" not in head
        assert "openai-beta" not in head


async def test_an_answer_has_the_gateways_headers_and_the_sdks_own_for_the_id(roads: Roads, provider: Provider) -> None:
    road = await roads.open(speaking_messages(provider.base_url))
    for stream in (False, True):
        answer = await road.ask(message(stream=stream), path=MESSAGES)
        headers = answer.headers
        assert headers["request-id"] == headers["x-request-id"]
        assert headers["x-tollgate-model"] == "plain"
        assert headers["x-tollgate-upstream"] == "main"
        assert "x-tollgate-credits-reserved" in headers
        assert ("x-tollgate-credits-charged" in headers) == (not stream)


async def test_what_cannot_be_paid_is_a_billing_error_that_no_sdk_retries(roads: Roads, provider: Provider) -> None:
    poor = await roads.open(speaking_messages(provider.base_url), credits="0.001")
    answer = await poor.ask(message(), path=MESSAGES)
    error = told(answer.body)
    assert (answer.status, error["type"], error["code"]) == (402, "billing_error", "insufficient_credits")
    assert answer.headers["x-should-retry"] == "false"
    assert error["metadata"]["limit_source"] == "org_pool"


async def test_what_may_work_a_little_later_is_overloaded(roads: Roads, provider: Provider) -> None:
    road = await roads.open(speaking_messages(provider.base_url))
    road.gateway.relay._draining = True
    answer = await road.ask(message(), path=MESSAGES)
    assert (answer.status, told(answer.body)["type"]) == (529, "overloaded_error")
    assert answer.headers["retry-after"]
    road.gateway.relay._draining = False


async def test_an_unknown_model_and_a_dialect_that_is_not_spoken(roads: Roads, provider: Provider) -> None:
    road = await roads.open(upstream_at(provider.base_url, dialects=frozenset({"rerank"})))
    for path in (MESSAGES, COUNT_TOKENS):
        unknown = await road.ask(message("no-such"), path=path)
        assert (unknown.status, told(unknown.body)["type"]) == (404, "not_found_error")
        unspoken = await road.ask(message(), path=path)
        assert (unspoken.status, told(unspoken.body)["code"]) == (400, "dialect_not_spoken")
    assert await road.books() == []


async def test_the_providers_own_errors_pass_and_trouble_with_our_key_does_not(
    roads: Roads, provider: Provider
) -> None:
    road = await roads.open(speaking_messages(provider.base_url))
    for path in (MESSAGES, COUNT_TOKENS):
        for status in (400, 404, 413, 429, 500, 529):
            answer = await road.ask(message(), path=path, x_replay_status=status)
            assert answer.status == status
            assert told(answer.body)["message"].endswith("as x-replay-status asked.")
        ours = await road.ask(message(), path=path, x_replay_status=401)
        assert (ours.status, told(ours.body)["type"]) == (502, "api_error")
        assert ours.headers["x-should-retry"] == "false"
    assert await road.spent_ucr() == 0


async def test_another_method_is_refused_in_the_dialect_of_the_path(road: Road) -> None:
    answer = await road.get(MESSAGES)
    assert (answer.status, told(answer.body)["type"]) == (405, "invalid_request_error")
    assert answer.headers["request-id"] == answer.headers["x-request-id"]


# --- counting ---------------------------------------------------------------------------------------------------------


async def test_counting_is_free_for_who_may_call_the_model(roads: Roads, provider: Provider) -> None:
    road = await roads.open(speaking_messages(provider.base_url))
    request = {"model": "plain", "messages": USER}
    answer = await road.ask(request, path=COUNT_TOKENS, x_replay_prompt_tokens=123)
    assert (answer.status, answer.json) == (200, {"input_tokens": 123})
    assert answer.headers["x-tollgate-upstream"] == "main"
    assert answer.headers["request-id"] == answer.headers["x-request-id"]
    narrow = await road.new_key(models=("dear",))
    assert (await road.ask(request, path=COUNT_TOKENS, key=narrow)).status == 404
    assert (await road.ask(request, path=COUNT_TOKENS, key="nonsense")).status == 401
    management = await road.new_key(kind=KeyKind.MANAGEMENT)
    assert (await road.ask(request, path=COUNT_TOKENS, key=management)).status == 403
    assert await road.books() == []
    assert await road.spent_ucr() == 0


async def test_counting_takes_no_more_at_a_time_than_it_may(roads: Roads, hostile: HostileUpstream) -> None:
    road = await roads.open(speaking_messages(hostile.url("hangs_before_headers")))
    waiting = [asyncio.ensure_future(road.ask(message(), path=COUNT_TOKENS)) for _ in range(AT_ONCE_MAX)]
    await until(lambda: len(hostile.requests) == AT_ONCE_MAX)
    answer = await road.ask(message(), path=COUNT_TOKENS)
    assert (answer.status, told(answer.body)["type"]) == (429, "rate_limit_error")
    assert answer.headers["retry-after"] == "1"
    for one in waiting:
        one.cancel()
    await asyncio.wait(waiting)
    await until(lambda: not road.gateway._counting._open, "who is gone counts no longer")


# --- models -----------------------------------------------------------------------------------------------------------


async def test_models_come_in_the_shape_of_who_asks(roads: Roads, provider: Provider) -> None:
    road = await roads.open(speaking_messages(provider.base_url))
    version = {"anthropic-version": "2023-06-01", "x-api-key": road.key}
    async with road.session.get(f"{road.gateway.url}/v1/models?limit=2", headers=version) as response:
        page = msgspec.json.decode(await response.read())
    assert [model["type"] for model in page["data"]] == ["model", "model"]
    assert page["has_more"] is True
    assert (page["first_id"], page["last_id"]) == (page["data"][0]["id"], page["data"][1]["id"])
    async with road.session.get(
        f"{road.gateway.url}/v1/models?limit=1000&after_id={page['last_id']}", headers=version
    ) as response:
        rest = msgspec.json.decode(await response.read())
    assert rest["has_more"] is False
    assert "plain" in [model["id"] for model in [*page["data"], *rest["data"]]]
    async with road.session.get(f"{road.gateway.url}/v1/models/plain", headers=version) as response:
        assert msgspec.json.decode(await response.read())["display_name"] == "plain"
    async with road.session.get(f"{road.gateway.url}/v1/models/no-such", headers=version) as response:
        assert (response.status, told(await response.read())["type"]) == (404, "not_found_error")
    assert (await road.get("/v1/models")).json["object"] == "list"


async def test_models_that_are_not_spoken_to_are_not_listed(roads: Roads, provider: Provider) -> None:
    road = await roads.open(upstream_at(provider.base_url))
    version = {"anthropic-version": "2023-06-01", "x-api-key": road.key}
    async with road.session.get(f"{road.gateway.url}/v1/models", headers=version) as response:
        assert msgspec.json.decode(await response.read()) == {
            "data": [],
            "first_id": None,
            "last_id": None,
            "has_more": False,
        }
