"""What applications do with Pydantic AI, in both dialects, through a gateway to a replay provider.

    OPENAI_BASE_URL=… OPENAI_API_KEY=… ANTHROPIC_BASE_URL=… ANTHROPIC_API_KEY=… \\
        python -m tests.sdks.python.pydantic_ai_suite [case …]

prints one JSON object: for each case and model what the application saw. The case about credits wants a key of its own,
in BROKE_API_KEY.
"""

import asyncio
import os
from collections.abc import Callable
from typing import Any

from pydantic import BaseModel
from pydantic_ai import Agent
from pydantic_ai.exceptions import ModelAPIError, ModelHTTPError
from pydantic_ai.models.anthropic import AnthropicModel
from pydantic_ai.models.openai import OpenAIChatModel
from pydantic_ai.providers.anthropic import AnthropicProvider
from pydantic_ai.providers.openai import OpenAIProvider

from tests.sdks.python.cases import BREAKS, Seen, failure, run_cases


def each(call: Callable[[Any], Seen], **key: str) -> Seen:
    models = {
        "openai": OpenAIChatModel("gpt-4o-mini", provider=OpenAIProvider(**key)),
        "anthropic": AnthropicModel("claude-haiku-4-5", provider=AnthropicProvider(**key)),
    }
    return {name: call(model) for name, model in models.items()}


class City(BaseModel):
    name: str
    inhabitants: int


def chat() -> Seen:
    def ask(model: Any) -> Seen:
        result = Agent(model).run_sync("What is a toll?")
        return {"text": result.output, "output_tokens": result.usage.output_tokens}

    return each(ask)


def stream() -> Seen:
    def ask(model: Any) -> Seen:
        received = asyncio.run(pieces(model))
        return {"text": "".join(received), "pieces": len(received)}

    return each(ask)


async def pieces(model: Any, **headers: str) -> list[str]:
    settings: Any = {"extra_headers": headers}
    async with Agent(model).run_stream("What is a toll?", model_settings=settings) as result:
        return [piece async for piece in result.stream_text(delta=True, debounce_by=None)]


def tool() -> Seen:
    """The model calls, the agent runs the function, the model speaks."""

    def ask(model: Any) -> Seen:
        asked: list[str] = []

        def get_weather(city: str) -> str:
            asked.append(city)
            return f"It is 18 °C in {city}."

        result = Agent(model, tools=[get_weather]).run_sync("What is the weather in 'Paris'?")
        return {"asked": asked, "text": result.output}

    return each(ask)


def structured_output() -> Seen:
    """By a tool that takes the answer."""
    return each(lambda model: city(Agent(model, output_type=City).run_sync("'Lima' has 9751000 inhabitants.")))


def structured_output_after_a_tool() -> Seen:
    """A call is demanded each time: first the function's, then the one that takes the answer."""

    def ask(model: Any) -> Seen:
        asked: list[str] = []

        def count(city: str) -> int:
            asked.append(city)
            return 9751000

        agent = Agent(model, output_type=City, tools=[count])
        return {"asked": asked, **city(agent.run_sync("How many live in 'Lima'?"))}

    return each(ask)


def city(result: Any) -> Seen:
    found: Seen = result.output.model_dump()
    return found


def stream_breaks() -> Seen:
    return each(lambda model: failure(lambda: asyncio.run(pieces(model, **BREAKS)), ModelAPIError))


def out_of_credits() -> Seen:
    return each(
        lambda model: failure(lambda: Agent(model).run_sync("What is a toll?"), ModelHTTPError),
        api_key=os.environ["BROKE_API_KEY"],
    )


if __name__ == "__main__":
    run_cases(
        *(chat, stream, tool, structured_output, structured_output_after_a_tool),
        *(stream_breaks, out_of_credits),
    )
