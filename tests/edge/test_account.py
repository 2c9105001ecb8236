"""The account endpoints answer OpenAI's and OpenRouter's clients about this key, exactly and up to date."""

from datetime import UTC, datetime
from typing import Any
from uuid import UUID

import pytest

from gateway.core.caller import Caller
from gateway.core.ids import unix_ms_of
from gateway.edge import rooms
from gateway.ledger.calls import End, Ending, Held, Wish
from tests.edge.conftest import House


async def a_call(house: House, key: str, **ending: Any) -> UUID:
    """A call of 7 µcr reserved and handed over for settling, as the relay does it."""
    caller: Caller = await house.app[rooms.KEY_RING].caller(key)
    id = house.app[rooms.IDS].next()
    whose: dict[str, Any] = {
        "id": id,
        "org_id": caller.org_id,
        "key_id": caller.key_id,
    }
    held = await house.ledger.reserve(
        Wish(**whose, account_ids=(caller.org_id,), model="fast", amount_ucr=100, learned_ucr=100, prompt_ucr=1)
    )
    assert isinstance(held, Held)
    fields: dict[str, Any] = {
        "end": End.OK,
        "delivered": True,
        "cost_ucr": 7,
        "numerator": 7_000_000,
        "lines": b'[["output",7,1000000]]',
        "model": "fast",
    }
    house.ledger.settle(Ending(**whose, account_id=caller.org_id, **(fields | ending)))
    return id


@pytest.fixture
async def org(house: House) -> UUID:
    return await house.new_org(credits="1000")


@pytest.fixture
async def key(house: House, org: UUID) -> str:
    return await house.new_key(org)


async def test_models_have_openais_shape_with_prices_and_context(house: House, key: str) -> None:
    answer = await house.ask("GET", "/v1/models", key=key)
    assert (answer.status, answer.json["object"]) == (200, "list")
    long, gpt = answer.json["data"]
    assert gpt == {
        "id": "openai/gpt-5",
        "object": "model",
        "created": 0,
        "owned_by": "openai",
        "context_length": 400_000,
        "max_completion_tokens": None,
        "pricing": {
            "prompt": "0.00000125",
            "completion": "0.00001",
            "input_cache_read": "0.000000125",
            "input_cache_write": "0.00000125",
        },
    }
    assert long["pricing"]["prompt"] == "0"
    assert long["pricing"]["tiers"] == [
        {
            "above_prompt_tokens": 200_000,
            "prompt": "0.000000000002",
            "completion": "0.000000000004",
            "input_cache_read": "0.000000000002",
            "input_cache_write": "0.000000000002",
        }
    ]


async def test_a_key_sees_only_the_models_it_may_use(house: House, org: UUID) -> None:
    key = await house.new_key(org, models=["long", "nowhere"])
    listed = (await house.ask("GET", "/v1/models", key=key)).json["data"]
    assert [model["id"] for model in listed] == ["long"]
    assert (await house.ask("GET", "/v1/models/long", key=key)).json == listed[0]
    for unseen in ("openai/gpt-5", "nowhere"):
        answer = await house.ask("GET", f"/v1/models/{unseen}", key=key)
        assert (answer.status, answer.json["error"]["code"]) == (404, "model_not_found")


async def test_credits_include_the_call_that_was_just_answered(house: House, key: str) -> None:
    await a_call(house, key)
    answer = await house.ask("GET", "/v1/credits", key=key)
    assert b'"total_usage":0.000007' in answer.body.replace(b" ", b"")
    assert answer.json["data"] == {
        "total_credits": 1000,
        "total_usage": 0.000007,
        "available": 999.999993,
        "held": 0,
        "receivable": 0,
    }


async def test_credits_say_what_open_calls_hold(house: House, key: str) -> None:
    caller = await house.app[rooms.KEY_RING].caller(key)
    id = house.app[rooms.IDS].next()
    whose: dict[str, Any] = {
        "id": id,
        "org_id": caller.org_id,
        "key_id": caller.key_id,
    }
    await house.ledger.reserve(
        Wish(
            **whose,
            account_ids=(caller.org_id,),
            model="fast",
            amount_ucr=400_000_000,
            learned_ucr=400_000_000,
            prompt_ucr=1,
        )
    )
    data = (await house.ask("GET", "/v1/credits", key=key)).json["data"]
    assert (data["held"], data["available"]) == (400, 600)
    answer = await house.ask("GET", f"/v1/generation?id={id}", key=key)
    assert answer.status == 404
    assert "still running" in answer.json["error"]["message"]
    operators = (await house.operate("GET", f"/api/credits/balance?organization_id={caller.org_id}")).json
    assert (operators["held_ucr"], operators["available_ucr"], operators["open_count"]) == (400_000_000, 600_000_000, 1)
    house.ledger.settle(
        Ending(**whose, account_id=caller.org_id, end=End.ERROR, delivered=False, cost_ucr=0, numerator=0)
    )


async def test_a_key_knows_what_it_used_and_not_what_others_did(house: House, org: UUID, key: str) -> None:
    other = await house.new_key(org, expires_at="2100-01-01T00:00:00Z", models=["long"])
    for _ in range(3):
        await a_call(house, key)
    await a_call(house, other)
    data = (await house.ask("GET", "/v1/key", key=key)).json["data"]
    assert data == {
        "label": "web",
        "limit": None,
        "limit_reset": None,
        "limit_remaining": None,
        "usage": 0.000021,
        "usage_daily": 0.000021,
        "usage_weekly": 0.000021,
        "usage_monthly": 0.000021,
        "is_free_tier": False,
        "expires_at": None,
        "models": None,
    }
    data = (await house.ask("GET", "/v1/key", key=other)).json["data"]
    assert (data["usage"], data["expires_at"], data["models"]) == (0.000007, "2100-01-01T00:00:00Z", ["long"])


async def test_a_generation_is_told_by_our_id_and_by_the_providers(house: House, key: str) -> None:
    id = await a_call(
        house,
        key,
        upstream="openai",
        upstream_model="gpt-5-mini-2026",
        provider_request_id="chatcmpl-1",
        streamed=True,
        status=200,
        finish_reason="stop",
        prompt_tokens=10,
        cached_tokens=4,
        output_tokens=20,
        reasoning_tokens=5,
        first_event_ms=120,
        duration_ms=900,
    )
    answer = await house.ask("GET", f"/v1/generation?id={id}", key=key)
    assert (answer.status, answer.json["data"]) == (
        200,
        {
            "id": str(id),
            "upstream_id": "chatcmpl-1",
            "total_cost": 0.000007,
            "usage": 0.000007,
            "model": "fast",
            "provider_name": "openai",
            "streamed": True,
            "cancelled": False,
            "end": "ok",
            "status": 200,
            "finish_reason": "stop",
            "tokens_prompt": 10,
            "tokens_completion": 20,
            "native_tokens_prompt": 10,
            "native_tokens_completion": 20,
            "native_tokens_cached": 4,
            "native_tokens_cache_write": 0,
            "native_tokens_reasoning": 5,
            "latency": 120,
            "generation_time": 900,
            "created_at": answer.json["data"]["created_at"],
            "lines": [{"kind": "output", "units": 7, "price_per_unit": "0.000001"}],
        },
    )
    began = datetime.fromisoformat(answer.json["data"]["created_at"])
    assert began == datetime.fromtimestamp(unix_ms_of(id) / 1000, UTC)
    assert (await house.ask("GET", "/v1/generation?id=chatcmpl-1", key=key)).json == answer.json


async def test_a_cancelled_generation_says_so(house: House, key: str) -> None:
    id = await a_call(house, key, end=End.CANCELLED)
    data = (await house.ask("GET", f"/v1/generation?id={id}", key=key)).json["data"]
    assert (data["cancelled"], data["end"], data["finish_reason"]) == (True, "cancelled", None)


async def test_another_orgs_generation_is_not_found(house: House, key: str) -> None:
    id = await a_call(house, key, provider_request_id="chatcmpl-1")
    stranger = await house.new_key(await house.new_org("other"))
    for name in (id, "chatcmpl-1"):
        answer = await house.ask("GET", f"/v1/generation?id={name}", key=stranger)
        assert (answer.status, answer.json["error"]["code"]) == (404, "not_found")


@pytest.mark.parametrize("query", ["", "?id=", "?id=a&id=b"])
async def test_a_generation_must_be_named_once(house: House, key: str, query: str) -> None:
    answer = await house.ask("GET", f"/v1/generation{query}", key=key)
    assert (answer.status, answer.json["error"]["param"]) == (400, "id")


async def test_the_operators_history_has_the_call(house: House, org: UUID, key: str) -> None:
    id = await a_call(house, key)
    answer = await house.operate("GET", f"/api/credits/transactions?organization_id={org}")
    row = answer.json["data"][0]
    assert (row["id"], row["kind"], row["transaction_type"], row["reason"]) == (
        str(id),
        "CHARGE",
        "USAGE",
        "MODEL_USAGE",
    )
    assert (row["amount"], row["model"], row["end"], row["cost_ucr"]) == ("-0.000007", "fast", "ok", 7)


@pytest.mark.parametrize(("method", "path", "status"), [("GET", "/v1/nothing", 404), ("DELETE", "/v1/key", 405)])
async def test_what_is_not_there_is_said_in_openais_dialect(house: House, method: str, path: str, status: int) -> None:
    answer = await house.ask(method, path)
    assert answer.status == status
    assert answer.json["error"]["type"] == "invalid_request_error"


@pytest.mark.parametrize(("method", "path", "status"), [("GET", "/api/nothing", 404), ("PATCH", "/api/orgs", 405)])
async def test_what_is_not_there_is_said_as_a_problem(house: House, method: str, path: str, status: int) -> None:
    answer = await house.operate(method, path)
    assert (answer.status, answer.json["status"]) == (status, status)
    assert answer.headers["content-type"] == "application/problem+json"
