"""What applications do with LlamaIndex, through a gateway to a replay provider.

    OPENAI_BASE_URL=… OPENAI_API_KEY=… python -m tests.sdks.python.llama_index_suite [case …]

prints one JSON object: for each case what the application saw. The case about credits wants a key of its own, in
BROKE_API_KEY.
"""

import os
from typing import Any

import openai
from llama_index.core.llms import ChatMessage
from llama_index.core.tools import FunctionTool
from llama_index.llms.openai import OpenAI
from pydantic import BaseModel

from tests.sdks.python.cases import BREAKS, Seen, failure, run_cases

GREETING = [ChatMessage(role="user", content="What is a toll?")]


def llm_of(api_key: str) -> OpenAI:
    return OpenAI(model="gpt-4o-mini", api_base=os.environ["OPENAI_BASE_URL"], api_key=api_key)


LLM = llm_of(os.environ["OPENAI_API_KEY"])


class City(BaseModel):
    """A place."""

    name: str
    inhabitants: int


def chat() -> Seen:
    answer: Any = LLM.chat(GREETING)
    return {"text": answer.message.content, "output_tokens": answer.raw.usage.completion_tokens}


def stream() -> Seen:
    pieces = [piece.delta for piece in LLM.stream_chat(GREETING)]
    return {"text": "".join(piece or "" for piece in pieces), "pieces": len(pieces)}


def tool() -> Seen:
    """The model calls, the application's function answers, the model speaks."""
    asked: list[str] = []

    def get_weather(city: str) -> str:
        """The weather in a city."""
        asked.append(city)
        return f"It is 18 °C in {city}."

    answer = LLM.predict_and_call([FunctionTool.from_defaults(get_weather)], "What is the weather in 'Paris'?")
    return {"asked": asked, "text": str(answer)}


def structured_output() -> Seen:
    answer: Any = LLM.as_structured_llm(City).chat(
        [ChatMessage(role="user", content="'Lima' has 9751000 inhabitants.")]
    )
    return dict(answer.raw.model_dump())


def stream_breaks() -> Seen:
    return failure(lambda: list(LLM.stream_chat(GREETING, extra_headers=BREAKS)), openai.APIError)


def out_of_credits() -> Seen:
    return failure(lambda: llm_of(os.environ["BROKE_API_KEY"]).chat(GREETING), openai.APIStatusError)


if __name__ == "__main__":
    run_cases(chat, stream, tool, structured_output, stream_breaks, out_of_credits)
