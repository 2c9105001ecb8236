"""litellm, with everything off that is not translation: the one module that imports it.

Its import takes seconds and well over 100 MB, and reads the environment: `prepare` comes first.
"""

import logging
import os
from collections.abc import Mapping
from types import ModuleType
from typing import Any, Final

from gateway.translator.process.repairs import repair
from gateway.translator.settings import Translated

MODELS_MAX: Final = 1024
_ENVIRONMENT: Final = {
    "LITELLM_LOCAL_MODEL_COST_MAP": "True",  # else it is fetched at import
    "LITELLM_MODE": "PRODUCTION",  # else a .env is read
    "LITELLM_LOG": "CRITICAL",
    "AWS_EC2_METADATA_DISABLED": "true",
    "DO_NOT_TRACK": "1",
}
_NO_SECOND_TRY: Final = {"num_retries": 0, "max_retries": 0, "fallbacks": None, "context_window_fallback_dict": None}
_CHATS_ALONE: Final = {"_skip_mcp_handler": True, "_skip_responses_api_bridge": True}
"""Tools are functions of the caller's: without the first, any of them has libraries imported that are not there."""


class Engine:
    """Made once, after the guard is installed; slow."""

    def __init__(self) -> None:
        os.environ.update(_ENVIRONMENT)
        import litellm

        self._litellm: Final[ModuleType] = litellm
        _quieten(litellm)
        import litellm.llms.cohere.common_utils

        repair(litellm)
        _leave_out(litellm)
        self._supported: Final[dict[tuple[str, str, bool], frozenset[str]]] = {}

    def supported(self, upstream: Translated, model: str, *, embedding: bool) -> frozenset[str]:
        """The names of OpenAI's parameters that litellm can say to the model."""
        asked = (upstream.provider, model, embedding)
        if asked in self._supported:
            return self._supported[asked]
        if len(self._supported) >= MODELS_MAX:
            self._supported.clear()
        names = self._litellm.get_supported_openai_params(
            model=model,
            custom_llm_provider=upstream.provider,
            request_type="embeddings" if embedding else "chat_completion",
        )
        found = self._supported[asked] = frozenset(names or ())
        return found

    async def chat(self, upstream: Translated, fields: Mapping[str, Any]) -> Any:
        """litellm's ModelResponse or stream wrapper. Raises what litellm raises."""
        return await self._litellm.acompletion(**fields, **_CHATS_ALONE, **self._how(upstream))

    async def embed(self, upstream: Translated, fields: Mapping[str, Any]) -> Any:
        return await self._litellm.aembedding(**fields, **self._how(upstream))

    def _how(self, upstream: Translated) -> dict[str, Any]:
        timeout_s = upstream.timeout_s
        return {
            "custom_llm_provider": upstream.provider,
            "timeout": timeout_s,
            "stream_timeout": timeout_s,
            "drop_params": False,
            "caching": False,
            "no-log": True,
            **_NO_SECOND_TRY,
            **upstream.params,
        }


def _leave_out(litellm: Any) -> None:
    """Work that is done for callbacks, of which there are none: half of what a call costs.

    Among it is putting a stream's chunks together to count its tokens; the provider's own count is in them.
    """

    async def nothing(*_: Any, **__: Any) -> None:
        return None

    logging_class = litellm.litellm_core_utils.litellm_logging.Logging
    logging_class.async_success_handler = logging_class.async_failure_handler = nothing
    logging_class.success_handler = logging_class.failure_handler = lambda *_, **__: None
    litellm.stream_chunk_builder = lambda *_, **__: None


def _quieten(litellm: Any) -> None:
    litellm.telemetry = False
    litellm.suppress_debug_info = True
    litellm.set_verbose = False
    litellm.drop_params = False
    litellm.modify_params = False
    litellm.num_retries = 0
    litellm.cache = None
    litellm.disable_aiohttp_transport = True  # the guard's count of what a call sends is in httpx
    litellm.disable_streaming_logging = True
    litellm.disable_hf_tokenizer_download = True
    litellm.turn_off_message_logging = True
    for name in ("callbacks", "success_callback", "failure_callback", "_async_success_callback"):
        setattr(litellm, name, [])
    for name in ("_async_failure_callback", "input_callback", "_async_input_callback", "service_callback"):
        setattr(litellm, name, [])
    for name in ("LiteLLM", "LiteLLM Router", "LiteLLM Proxy", "httpx", "openai", "botocore", "urllib3"):
        logging.getLogger(name).handlers = [logging.NullHandler()]
        logging.getLogger(name).propagate = False
