"""Answers in one dialect that were made in the other, read by the package of the one they are in.

    SDK=anthropic API=messages BASE_URL=… python -m tests.sdks.python.translated 0 1-stream …

asks the server for each of them by its number, which goes as the model, and prints one JSON object: what the package
made of each, after its own models have checked it, or the error that it raised.
"""

import importlib
import json
import os
import sys
from typing import Any

MESSAGES: Any = [{"role": "user", "content": "Hello."}]


def with_anthropic(anthropic: Any, client: Any, model: str, streamed: bool) -> Any:
    asked: Any = {"model": model, "max_tokens": 1, "messages": MESSAGES}
    try:
        if streamed:
            with client.messages.stream(**asked) as stream:
                message = stream.get_final_message().to_dict()
        else:
            message = client.messages.create(**asked).to_dict()
    except anthropic.APIStatusError as error:
        return {"raised": type(error).__name__, "status": error.status_code}
    anthropic.types.Message.model_validate(message)
    return message


def with_openai(openai: Any, client: Any, model: str, streamed: bool) -> Any:
    asked: Any = {"model": model, "messages": MESSAGES}
    try:
        if streamed:
            options = {"include_usage": True}
            with client.chat.completions.stream(**asked, stream_options=options) as stream:
                completion = stream.get_final_completion().to_dict()
        else:
            completion = client.chat.completions.create(**asked).to_dict()
    except openai.LengthFinishReasonError as error:  # its helper for streams takes a cut-off answer for unparsable
        completion = error.completion.to_dict()
    except openai.APIError as error:
        return {"raised": type(error).__name__, "status": getattr(error, "status_code", None)}
    openai.types.chat.ChatCompletion.model_validate(completion)
    return completion


def with_responses(openai: Any, client: Any, model: str, streamed: bool) -> Any:
    asked: Any = {"model": model, "input": "Hello."}
    try:
        if streamed:
            with client.responses.stream(**asked) as stream:
                response = stream.get_final_response().to_dict()
        else:
            response = client.responses.create(**asked).to_dict()
    except openai.APIError as error:
        return {"raised": type(error).__name__, "status": getattr(error, "status_code", None)}
    without_parsed = {**response, "output": [unparsed(item) for item in response["output"]]}
    openai.types.responses.Response.model_validate(without_parsed)
    return without_parsed


def unparsed(item: Any) -> Any:
    """Without what the package adds for itself."""
    said = {key: value for key, value in item.items() if key != "parsed_arguments"}
    if item["type"] == "message":
        parts = [{key: value for key, value in part.items() if key != "parsed"} for part in item["content"]]
        said["content"] = parts
    return said


def main() -> None:
    package: Any = importlib.import_module(os.environ["SDK"])
    url = os.environ["BASE_URL"]
    cases = [(case, case.removesuffix("-stream")) for case in sys.argv[1:]]
    if os.environ["SDK"] == "anthropic":
        client = package.Anthropic(base_url=url, api_key="none", max_retries=0)
        seen = {case: with_anthropic(package, client, number, case != number) for case, number in cases}
    else:
        client = package.OpenAI(base_url=f"{url}/v1", api_key="none", max_retries=0)
        read = with_responses if os.environ["API"] == "responses" else with_openai
        seen = {case: read(package, client, number, case != number) for case, number in cases}
    print(json.dumps(seen))


if __name__ == "__main__":
    main()
