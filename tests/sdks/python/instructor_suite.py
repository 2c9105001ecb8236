"""What applications do with Instructor, through a gateway to a replay provider.

    OPENAI_BASE_URL=… OPENAI_API_KEY=… python -m tests.sdks.python.instructor_suite [case …]

prints one JSON object: for each case what the application saw. The case about credits wants a key of its own, in
BROKE_API_KEY.
"""

import os
from typing import Any

import instructor
import openai
from instructor.core.exceptions import InstructorRetryException
from pydantic import BaseModel

from tests.sdks.python.cases import Seen, failure, replay, run_cases

MODEL = "gpt-4o-mini"
LIMA: Any = [{"role": "user", "content": "'Lima' has 9751000 inhabitants."}]


class City(BaseModel):
    name: str
    inhabitants: int


def chat() -> Seen:
    client: Any = instructor.from_openai(openai.OpenAI())
    return {"text": client.create(model=MODEL, messages=LIMA, response_model=str)}


def structured_output() -> Seen:
    """In each way of asking for it."""
    modes = (instructor.Mode.TOOLS, instructor.Mode.TOOLS_STRICT, instructor.Mode.JSON_SCHEMA)
    return {mode.value: city(openai.OpenAI(), mode=mode).model_dump() for mode in modes}


def city(client: openai.OpenAI, **options: Any) -> Any:
    patched: Any = instructor.from_openai(client, **options)
    return patched.create(model=MODEL, messages=LIMA, response_model=City)


def stream() -> Seen:
    """Objects of which more and more is known."""
    client: Any = instructor.from_openai(openai.OpenAI())
    cities = list(client.create_partial(model=MODEL, messages=LIMA, response_model=City))
    return {"pieces": len(cities), "last": cities[-1].model_dump()}


def stream_breaks() -> Seen:
    client: Any = instructor.from_openai(openai.OpenAI(), mode=instructor.Mode.JSON_SCHEMA)
    asked = {"model": MODEL, "messages": LIMA, "response_model": City, "extra_headers": replay(**{"break": 2})}
    return failure(lambda: list(client.create_partial(**asked)), InstructorRetryException)


def out_of_credits() -> Seen:
    broke = openai.OpenAI(api_key=os.environ["BROKE_API_KEY"])
    return failure(lambda: city(broke), InstructorRetryException)


if __name__ == "__main__":
    run_cases(chat, structured_output, stream, stream_breaks, out_of_credits)
