"""What applications are built with, on top of the SDKs, against a running gateway: what they see, and what it costs."""

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any, Final

import pytest

from gateway.replay.server import ReplayServer
from tests.e2e.prices import charge_ucr
from tests.e2e.running import Customer, RunningGateway, running_gateway
from tests.e2e.sdks import INSTRUCTOR, LANGCHAIN, LLAMA_INDEX, PYDANTIC_AI, VERCEL
from tests.fakes.turnstile import Turnstile

CREDITS: Final = 10_000
SAID: Final = "This is the replay provider, no model was asked. You said: “What is a toll?”."
ANSWERED: Final = "The tool said: “It is 18 °C in Paris.”."
BROKEN: Final = "The upstream `{}` broke off its answer."
LIMA: Final = {"name": "Lima", "inhabitants": 9_751_000}


@pytest.fixture
async def gateway(dsn: str, replay: ReplayServer, tmp_path: Path) -> AsyncIterator[RunningGateway]:
    async with running_gateway(
        dsn=dsn,
        upstream_url=replay.base_url,
        data_dir=tmp_path,
        environ={"ANTHROPIC_API_KEY": "sk-ant-replay", "ANTHROPIC_BASE_URL": replay.url},
    ) as running:
        yield running
        assert await running.stop() == 0
        assert running.said.complaints() == []


@pytest.fixture
async def customer(gateway: RunningGateway) -> Customer:
    return await gateway.customer(credits=str(CREDITS))


@pytest.fixture
async def broke(gateway: RunningGateway) -> Customer:
    return await gateway.customer()


@pytest.fixture
async def turnstile(gateway: RunningGateway) -> AsyncIterator[Turnstile]:
    """Where the frameworks go: it counts what is sent to the gateway."""
    async with Turnstile(gateway.url) as turnstile:
        yield turnstile


@pytest.fixture
def environ(turnstile: Turnstile, customer: Customer, broke: Customer) -> dict[str, str]:
    return {
        "OPENAI_BASE_URL": f"{turnstile.url}/v1",
        "OPENAI_API_KEY": customer.api_key,
        "ANTHROPIC_BASE_URL": turnstile.url,
        "ANTHROPIC_API_KEY": customer.api_key,
        "BROKE_API_KEY": broke.api_key,
    }


@pytest.fixture(autouse=True)
async def books(
    gateway: RunningGateway, replay: ReplayServer, customer: Customer, turnstile: Turnstile
) -> AsyncIterator[None]:
    """Whatever a framework did: nothing stays held, and each call was charged what the provider sent, once."""
    yield
    async with gateway.session.get(f"{replay.url}/_sent") as response:
        calls = (await response.json())["calls"]
    assert calls
    balance = await gateway.balance(customer.org_id)
    assert balance.held_ucr == 0
    whole = [call for call in calls if call["end"] == "complete"]
    spent = CREDITS * 1_000_000 - balance.balance_ucr
    if whole == calls:
        assert spent == sum(map(charge_of, calls))
    else:
        assert spent > sum(map(charge_of, whole))


def charge_of(call: dict[str, Any]) -> int:
    return charge_ucr(call["model"], call["tokens"], "anthropic" if call["model"].startswith("claude") else "openai")


def tries_of(turnstile: Turnstile, customer: Customer) -> int:
    sent = [one.headers.get("x-api-key") or one.headers["authorization"] for one in turnstile.passed]
    return sum(key.removeprefix("Bearer ") == customer.api_key for key in sent)


@pytest.mark.parametrize(
    ("name", "skipped"),
    [
        (
            "TestOpenAI",
            {
                "test_pdf_tool_message": "Model does not support PDF tool message.",
                "test_stream_time": "VCR not set up.",
            },
        ),
        (
            "TestAnthropic",
            {
                "test_audio_inputs": "Model does not support audio inputs.",
                "test_json_mode": "Test requires json mode support.",
                "test_stream_time": "VCR not set up.",
            },
        ),
    ],
)
async def test_langchains_own_tests_pass(
    name: str, skipped: dict[str, str], environ: dict[str, str], turnstile: Turnstile, broke: Customer
) -> None:
    seen = await LANGCHAIN.run([name], environ)

    assert {test: facts["skipped"] for test, facts in seen.items() if "skipped" in facts} == skipped
    assert len(seen) - len(skipped) >= 45
    assert tries_of(turnstile, broke) == 1


async def test_pydantic_ai(environ: dict[str, str], turnstile: Turnstile, broke: Customer) -> None:
    seen = await PYDANTIC_AI.run([], environ)

    for model, raised in (("openai", "ModelAPIError"), ("anthropic", "ModelServerError")):
        of = {case: facts[model] for case, facts in seen.items()}
        assert of["chat"]["text"].startswith(SAID)
        assert of["chat"]["output_tokens"] > 0
        assert of["stream"]["text"].startswith(SAID)
        assert of["stream"]["pieces"] > 1
        assert of["tool"]["asked"] == ["Paris"]
        assert ANSWERED in of["tool"]["text"]
        assert of["structured_output"] == LIMA
        assert of["structured_output_after_a_tool"] == {"asked": ["Lima"], "name": "Lima", "inhabitants": 1}
        assert of["stream_breaks"]["raised"] == raised
        assert BROKEN.format(model) in of["stream_breaks"]["message"]
        assert (of["out_of_credits"]["raised"], of["out_of_credits"]["status"]) == ("ModelQuotaExceededError", 402)
        assert "insufficient_credits" in of["out_of_credits"]["message"]
    assert tries_of(turnstile, broke) == 2, "one for each model"


async def test_llama_index(environ: dict[str, str], turnstile: Turnstile, broke: Customer) -> None:
    seen = await LLAMA_INDEX.run([], environ)

    assert seen["chat"]["text"].startswith(SAID)
    assert seen["chat"]["output_tokens"] > 0
    assert seen["stream"]["text"].startswith(SAID)
    assert seen["stream"]["pieces"] > 1
    assert seen["tool"] == {"asked": ["Paris"], "text": "It is 18 °C in Paris."}
    assert seen["structured_output"] == LIMA
    assert (seen["stream_breaks"]["raised"], seen["stream_breaks"]["message"]) == ("APIError", BROKEN.format("openai"))
    assert_refused(seen["out_of_credits"], "APIStatusError", turnstile, broke)


async def test_instructor(environ: dict[str, str], turnstile: Turnstile, broke: Customer) -> None:
    seen = await INSTRUCTOR.run([], environ)

    assert seen["chat"]["text"] == "Lima"
    assert seen["structured_output"] == dict.fromkeys(("tool_call", "tools_strict", "json_schema_mode"), LIMA)
    assert seen["stream"]["last"] == LIMA
    assert seen["stream"]["pieces"] > 1
    assert seen["stream_breaks"]["raised"] == "InstructorRetryException"
    assert seen["stream_breaks"]["message"] == BROKEN.format("openai")
    assert_refused(seen["out_of_credits"], "InstructorRetryException", turnstile, broke)


def assert_refused(error: dict[str, Any], raised: str, turnstile: Turnstile, broke: Customer) -> None:
    assert error["raised"] == raised
    assert "Error code: 402" in error["message"]
    assert "insufficient_credits" in error["message"]
    assert tries_of(turnstile, broke) == 1


async def test_vercels_ai_sdk(environ: dict[str, str], turnstile: Turnstile, broke: Customer) -> None:
    seen = await VERCEL.run([], {**environ, "ANTHROPIC_BASE_URL": f"{turnstile.url}/v1"})

    for provider, upstream in (("openai", "openai"), ("anthropic", "anthropic"), ("compatible", "openai")):
        of = {case: facts[provider] for case, facts in seen.items() if case != "sdk"}
        for case in ("generate_text", "stream_text"):
            assert of[case]["text"].startswith(SAID)
            assert of[case]["input"] > 0
            assert of[case]["output"] > 0
        assert of["stream_text"]["pieces"] > 1
        assert (of["tools"]["asked"], of["tools"]["steps"]) == (["Paris"], 2)
        assert ANSWERED in of["tools"]["text"]
        assert of["generate_object"] == LIMA
        error = of["out_of_credits"]
        facts = [error[fact] for fact in ("raised", "status", "code", "retryable")]
        assert facts == ["AI_APICallError", 402, "insufficient_credits", False]
        assert len(of["stream_breaks"]["text"]) == 5 * 4
        assert of["stream_breaks"]["errors"] == [BROKEN.format(upstream)]
    assert tries_of(turnstile, broke) == 3, "one for each provider"
