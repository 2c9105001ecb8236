"""LangChain's own standard tests of its two chat models, as langchain-tests has them; here stands what each can do.

A feature that is not claimed below is skipped by the standard tests themselves, and why is written there. So is the
recording of cassettes (`enable_vcr_tests`): what is compared with a recording reaches no gateway.
"""

import base64
import os
from typing import Any, ClassVar

import anthropic
import httpx
import openai
import pytest
from langchain_anthropic import ChatAnthropic
from langchain_core.messages import AIMessage
from langchain_openai import ChatOpenAI
from langchain_tests.integration_tests import ChatModelIntegrationTests

from tests.sdks.python.cases import BREAKS, replay

PIXEL = "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk+M9QDwADhgGAWjR9awAAAABJRU5ErkJggg=="
FILES = {"png": base64.b64decode(PIXEL), "pdf": b"%PDF-1.4\n%%EOF\n", "wav": b"RIFF\x24\x00\x00\x00WAVE"}


@pytest.fixture(autouse=True)
def offline(monkeypatch: pytest.MonkeyPatch) -> None:
    """The files that the standard tests fetch before they send them to the model."""

    def get(url: str, **_: object) -> httpx.Response:
        return httpx.Response(200, content=FILES[url.rpartition(".")[2]], request=httpx.Request("GET", url))

    monkeypatch.setattr(httpx, "get", get)


class GatewayTests(ChatModelIntegrationTests):
    """What both can do, and how both fail."""

    api_error: type[Exception]
    status_error: type[Exception]
    details: ClassVar[list[str]]

    supports_image_inputs = True
    supports_image_urls = True
    supports_image_tool_message = True
    supports_pdf_inputs = True
    supports_anthropic_inputs = True

    @property
    def supported_usage_metadata_details(self) -> Any:
        return {"invoke": self.details, "stream": self.details}

    def invoke_with_cache_read_input(self, *, stream: bool = False) -> AIMessage:
        return self._invoked(stream, cached_tokens=3)

    def invoke_with_cache_creation_input(self, *, stream: bool = False) -> AIMessage:
        return self._invoked(stream, cache_write_tokens=3)

    def invoke_with_reasoning_output(self, *, stream: bool = False) -> AIMessage:
        return self._invoked(stream, reasoning_tokens=3, output_tokens=9)

    def _invoked(self, stream: bool, **directions: object) -> Any:
        model = self.model_with(default_headers=replay(**directions))
        if not stream:
            return model.invoke("Hello")
        first, *others = model.stream("Hello")
        for chunk in others:
            first += chunk
        return first

    def model_with(self, **options: Any) -> Any:
        return self.chat_model_class(**self.chat_model_params, **options)

    def test_without_credits_it_raises(self) -> None:
        with pytest.raises(self.status_error, match="credits do not cover") as raised:
            self.model_with(api_key=os.environ["BROKE_API_KEY"]).invoke("Hello")
        assert getattr(raised.value, "status_code", None) == 402

    def test_a_stream_that_breaks_raises(self) -> None:
        model = self.model_with(default_headers=BREAKS)
        chunks = []
        with pytest.raises(self.api_error, match="broke off"):
            chunks.extend(model.stream("Hello"))


class TestOpenAI(GatewayTests):
    api_error = openai.APIError
    status_error = openai.APIStatusError
    details: ClassVar = ["cache_read_input", "reasoning_output"]

    chat_model_class = ChatOpenAI
    chat_model_params: ClassVar = {"model": "gpt-4o-mini", "use_responses_api": False, "stream_usage": True}
    model_override_value = "gpt-4o"
    supports_json_mode = True
    supports_audio_inputs = True


class TestAnthropic(GatewayTests):
    api_error = anthropic.APIError
    status_error = anthropic.APIStatusError
    details: ClassVar = ["cache_read_input", "cache_creation_input"]

    chat_model_class = ChatAnthropic
    chat_model_params: ClassVar = {"model": "claude-haiku-4-5"}
    model_override_value = "claude-sonnet-4-5"
    supports_pdf_tool_message = True
