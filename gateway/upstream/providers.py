"""The providers known here: a literal record of each one's habits, with where each fact is from.

A name is the price map's. What is not documented has the careful value: a stream whose caller left is read on
(`drain`), a usage is not asked for. docs/providers.md is this table for people; a test compares them.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final

from gateway.core.dialect import DialectName
from gateway.upstream.registry import AuthHeader, OnDisconnect, OutputLimitField, Surface


@dataclass(frozen=True, slots=True, kw_only=True)
class Provider:
    """The habits of a provider: defaults for an upstream's settings."""

    base_url: str = ""
    """Empty: each upstream has its own."""
    base_url_hint: str = ""
    """What it looks like where each account has its own."""
    dialects: tuple[DialectName, ...] = ("openai-chat",)
    """What it speaks natively; never empty."""
    elsewhere: Mapping[DialectName, Surface] = field(default_factory=dict)
    """Dialects that are spoken under another address, or with the key in another header."""
    auth_header: AuthHeader = "authorization"
    include_usage: bool
    """Streams may be asked for their usage with `stream_options.include_usage`."""
    on_disconnect: OnDisconnect
    output_limit_field: OutputLimitField = "max_tokens"
    extended_chat: bool = False
    """Its chat knows what OpenRouter and others have added to OpenAI's."""
    counts_every_answer: bool = True
    """The usage of a call for several answers is of all of them."""
    hidden_context: bool = False
    """Its models read more than they are sent."""
    quirks: tuple[str, ...] = ()
    """What is unlike OpenAI, and what nobody has documented; sentences for people."""
    sources: tuple[str, ...]
    """Recordings of real traffic, as their host and how many; public documents, read on READ_ON."""


READ_ON: Final = "2026-11-27"
CANCELLATION: Final = "https://openrouter.ai/docs/api-reference/streaming"
"""Which providers stop an abandoned stream and its bill, by OpenRouter's list. Who is not on it is drained."""
_NOT_LISTED: Final = "OpenRouter's list does not say whether an abandoned stream is billed in full."
_USAGE_UNKNOWN: Final = "Whether it takes `stream_options` was not found documented."

ANY_OTHER: Final = Provider(include_usage=True, on_disconnect="cancel", sources=())
"""Whoever is not known here; nothing but a guess, for a server of one's own."""

PROVIDERS: Final[Mapping[str, Provider]] = {
    "openai": Provider(
        base_url="https://api.openai.com/v1",
        dialects=("openai-chat", "openai-responses", "openai-completions", "openai-embeddings", "openai-moderations"),
        include_usage=True,
        on_disconnect="cancel",
        output_limit_field="max_completion_tokens",
        sources=(
            "api.openai.com: 87 chats, 147 responses, 3 embeddings",
            "https://developers.openai.com/api/reference/overview",
            CANCELLATION,
        ),
    ),
    "anthropic": Provider(
        base_url="https://api.anthropic.com/v1",
        dialects=("anthropic-messages",),
        auth_header="x-api-key",
        include_usage=True,
        on_disconnect="cancel",
        quirks=("message_start has a first figure of the prompt, message_delta the last one.",),
        sources=("api.anthropic.com: 158 messages", CANCELLATION),
    ),
    # Our own, which plays recorded and made-up answers wherever it is started.
    "replay": Provider(
        dialects=(
            "openai-chat",
            "openai-responses",
            "anthropic-messages",
            "openai-completions",
            "openai-embeddings",
            "cohere-embed",
            "openai-moderations",
            "rerank",
            "gemini-generate",
            "gemini-embed",
        ),
        base_url_hint="http://127.0.0.1:8081/v1",
        include_usage=True,
        on_disconnect="cancel",
        sources=("docs/replay.md",),
    ),
    "azure": Provider(
        base_url_hint="https://{resource}.openai.azure.com/openai/v1",
        dialects=("openai-chat", "openai-responses", "openai-embeddings"),
        auth_header="api-key",
        include_usage=True,
        on_disconnect="cancel",
        output_limit_field="max_completion_tokens",
        quirks=(
            "A model is called by the name of its deployment: `models` lists those that are called like the model, "
            "`[[models]]` names others.",
            "Tokens of Entra ID expire and cannot be an `api_key_env`.",
        ),
        sources=(
            "{resource}.openai.azure.com: 2 responses",
            "https://learn.microsoft.com/en-us/azure/ai-foundry/openai/latest",
            "https://azure-foundry.mintlify.app/api-reference/embeddings/creates-an-embedding-vector-representing-the-input-text",
            CANCELLATION,
        ),
    ),
    "azure_ai": Provider(
        base_url_hint="https://{resource}.services.ai.azure.com/openai/v1",
        dialects=("openai-chat", "openai-responses"),
        auth_header="api-key",
        include_usage=False,
        on_disconnect="cancel",
        quirks=(_USAGE_UNKNOWN, "A model is called by the name of its deployment."),
        sources=(
            "https://reference.langchain.com/python/langchain-azure-ai/chat_models/openai",
            CANCELLATION,
        ),
    ),
    "bedrock": Provider(
        base_url_hint="https://bedrock-runtime.{region}.amazonaws.com/openai/v1",
        dialects=("openai-chat", "openai-responses"),
        include_usage=False,
        on_disconnect="drain",
        quirks=(
            "The key is a long-term Bedrock API key, as a bearer token. What expires within hours, AWS's signatures "
            "(SigV4) and Converse need the translator.",
            "Claude's messages are at `https://bedrock-runtime.{region}.amazonaws.com/anthropic/v1`: an upstream of "
            'its own with `dialects = ["anthropic-messages"]`.',
            "Not every model that has a price is served there, so name its `models`.",
            _USAGE_UNKNOWN,
        ),
        sources=(
            "https://docs.aws.amazon.com/bedrock/latest/userguide/inference-responses-api.html",
            "https://docs.aws.amazon.com/bedrock/latest/userguide/inference-messages-api.html",
            "https://docs.aws.amazon.com/bedrock/latest/userguide/api-keys.md",
            CANCELLATION,
        ),
    ),
    "bedrock_mantle": Provider(
        base_url_hint="https://bedrock-mantle.{region}.api.aws/v1",
        dialects=("openai-chat", "openai-responses"),
        include_usage=False,
        on_disconnect="drain",
        quirks=(
            "Some models are under `/openai/v1` in place of `/v1`: another upstream, with those `models`.",
            "Claude's messages are at `https://bedrock-mantle.{region}.api.aws/anthropic/v1`: an upstream of its own "
            'with `dialects = ["anthropic-messages"]`.',
            "The key is a long-term Bedrock API key, as a bearer token; what expires needs the translator.",
            _USAGE_UNKNOWN,
        ),
        sources=(
            "bedrock-mantle.{region}.api.aws: 8 responses",
            "https://docs.aws.amazon.com/bedrock/latest/userguide/bedrock-mantle.html",
            "https://docs.aws.amazon.com/bedrock/latest/userguide/inference-messages-api.html",
            CANCELLATION,
        ),
    ),
    "gemini": Provider(
        base_url="https://generativelanguage.googleapis.com/v1beta",
        dialects=("gemini-generate", "gemini-embed", "openai-chat", "openai-embeddings"),
        elsewhere={
            "openai-chat": Surface(
                base_url="https://generativelanguage.googleapis.com/v1beta/openai", auth_header="authorization"
            ),
            "openai-embeddings": Surface(
                base_url="https://generativelanguage.googleapis.com/v1beta/openai", auth_header="authorization"
            ),
        },
        auth_header="x-goog-api-key",
        include_usage=True,
        on_disconnect="drain",
        quirks=(
            "In OpenAI's dialect each chunk has the usage so far, and thoughts are in `total_tokens` alone: what the "
            "total has beyond prompt and completion is charged as output.",
        ),
        sources=(
            "generativelanguage.googleapis.com: 169 of generateContent, 6 embeddings",
            "https://ai.google.dev/api/compatibility",
            "https://github.com/ogx-ai/ogx/issues/5122",
            "https://github.com/Clarifai/clarifai-python/pull/978",
            CANCELLATION,
        ),
    ),
    "vertex_ai": Provider(
        base_url="https://aiplatform.googleapis.com/v1/publishers/google",
        dialects=("gemini-generate",),
        auth_header="x-goog-api-key",
        include_usage=False,
        on_disconnect="drain",
        quirks=(
            "The address is that of express mode, which takes an API key. Projects, locations and partners' models "
            "take tokens that expire within the hour: they need the translator.",
        ),
        sources=(
            "aiplatform.googleapis.com: 65 of generateContent",
            "https://cloud.google.com/vertex-ai/generative-ai/docs/start/express-mode/vertex-ai-express-mode-api-reference",
            CANCELLATION,
        ),
    ),
    "mistral": Provider(
        base_url="https://api.mistral.ai/v1",
        dialects=("openai-chat", "openai-embeddings", "openai-moderations"),
        include_usage=False,
        on_disconnect="drain",
        quirks=(
            "It has answered 422 to `stream_options`; the last chunk carries the usage unasked.",
            "What was cached is `num_cached_tokens` too.",
        ),
        sources=(
            "api.mistral.ai: 31 chats",
            "https://docs.mistral.ai/resources/release-note/2024-01-16-token-usage-in-streaming-requests",
            "https://github.com/avante-corp/avante.nvim/issues/2347",
            CANCELLATION,
        ),
    ),
    "groq": Provider(
        base_url="https://api.groq.com/openai/v1",
        dialects=("openai-chat", "openai-responses"),
        include_usage=True,
        on_disconnect="drain",
        output_limit_field="max_completion_tokens",
        quirks=(
            "The last chunk of a stream carries the usage unasked, in `x_groq` as well.",
            "A stream may end in `event: error` without usage or `[DONE]`.",
        ),
        sources=(
            "api.groq.com: 41 chats",
            "https://console.groq.com/docs/openai",
            "https://github.com/Portkey-AI/gateway/issues/1338",
            CANCELLATION,
        ),
    ),
    "deepseek": Provider(
        base_url="https://api.deepseek.com",
        dialects=("openai-chat", "openai-responses", "openai-completions", "anthropic-messages"),
        elsewhere={
            "openai-completions": Surface(base_url="https://api.deepseek.com/beta", auth_header="authorization"),
            "anthropic-messages": Surface(base_url="https://api.deepseek.com/anthropic/v1", auth_header="x-api-key"),
        },
        include_usage=True,
        on_disconnect="cancel",
        quirks=("What was cached is `prompt_cache_hit_tokens` too.",),
        sources=(
            "api.deepseek.com: 3 chats, 8 responses",
            "https://api-docs.deepseek.com/guides/anthropic_api/",
            "https://apifox.com/apidoc/docs-site/5435161",
            CANCELLATION,
        ),
    ),
    "xai": Provider(
        base_url="https://api.x.ai/v1",
        dialects=("openai-chat", "openai-responses"),
        include_usage=True,
        on_disconnect="cancel",
        output_limit_field="max_completion_tokens",
        quirks=(
            "Reasoning comes on top of `completion_tokens`, as the total shows: both are charged as output.",
            "Whether `max_completion_tokens` bounds reasoning is told in two ways.",
            "Its messages in Anthropic's dialect are deprecated; such calls are translated.",
        ),
        sources=(
            "https://docs.x.ai/api",
            "https://www.developersdigest.tech/reference/api-compatibility/xai",
            "https://github.com/brainlid/langchain/pull/626",
            CANCELLATION,
        ),
    ),
    "openrouter": Provider(
        base_url="https://openrouter.ai/api/v1",
        dialects=(
            "openai-chat",
            "openai-responses",
            "openai-completions",
            "openai-embeddings",
            "rerank",
            "anthropic-messages",
        ),
        include_usage=True,
        on_disconnect="drain",
        extended_chat=True,
        quirks=(
            "The usage comes beside the choices of the last chunk, asked for or not, with what it cost (`cost`).",
            "Whether an abandoned stream is billed in full is up to the provider behind it.",
            "The map has no prices of it: they are yours to set.",
        ),
        sources=(
            "openrouter.ai: 40 chats, 3 responses",
            "https://openrouter.ai/docs/api/api-reference/anthropic-messages/create-a-message",
            "https://openrouter.ai/docs/api/api-reference/responses/create-responses.md",
            "https://openrouter.ai/docs/api/api-reference/embeddings/create-embeddings.md",
            "https://registry.lap.sh/v1/apis/openrouter",
            "https://docs.getbifrost.ai/providers/supported-providers/openrouter",
            CANCELLATION,
        ),
    ),
    "together_ai": Provider(
        base_url="https://api.together.ai/v1",
        dialects=("openai-chat", "openai-completions", "openai-embeddings", "rerank"),
        include_usage=True,
        on_disconnect="cancel",
        quirks=("`stream_options` is not in its reference; clients of OpenAI's dialect send it.",),
        sources=(
            "https://docs.together.ai/docs/inference/openai-compatibility",
            "https://docs.together.ai/reference/rerank",
            CANCELLATION,
        ),
    ),
    "fireworks_ai": Provider(
        base_url="https://api.fireworks.ai/inference/v1",
        dialects=(
            "openai-chat",
            "openai-responses",
            "openai-completions",
            "openai-embeddings",
            "rerank",
            "anthropic-messages",
        ),
        include_usage=True,
        on_disconnect="cancel",
        sources=(
            "https://docs.fireworks.ai/api-reference/post-chatcompletions",
            "https://docs.fireworks.ai/guides/response-api",
            "https://docs.fireworks.ai/guides/querying-embeddings-models",
            "https://docs.fireworks.ai/tools-sdks/anthropic-compatibility",
            CANCELLATION,
        ),
    ),
    "cerebras": Provider(
        base_url="https://api.cerebras.ai/v1",
        dialects=("openai-chat", "openai-completions"),
        include_usage=False,
        on_disconnect="drain",
        output_limit_field="max_completion_tokens",
        quirks=(_USAGE_UNKNOWN, _NOT_LISTED),
        sources=(
            "api.cerebras.ai: 5 chats",
            "https://inference-docs.cerebras.ai/capabilities/streaming",
            "https://inference-docs.cerebras.ai/api-reference/completions",
        ),
    ),
    "cohere": Provider(
        base_url="https://api.cohere.com/v2",
        dialects=("cohere-embed", "rerank", "openai-chat", "openai-embeddings"),
        elsewhere={
            "openai-chat": Surface(base_url="https://api.cohere.ai/compatibility/v1", auth_header="authorization"),
            "openai-embeddings": Surface(
                base_url="https://api.cohere.ai/compatibility/v1", auth_header="authorization"
            ),
        },
        include_usage=False,
        on_disconnect="cancel",
        quirks=(
            _USAGE_UNKNOWN,
            "Its own API tells what it bills in `meta.billed_units`: tokens, and for rankings units of a search.",
        ),
        sources=(
            "api.cohere.com: 4 embeddings",
            "https://docs.cohere.com/docs/compatibility-api",
            CANCELLATION,
        ),
    ),
    "voyage": Provider(
        base_url="https://api.voyageai.com/v1",
        dialects=("openai-embeddings", "rerank"),
        include_usage=False,
        on_disconnect="drain",
        quirks=("The usage is `total_tokens` alone.", "A ranking is under `data`, not `results`."),
        sources=(
            "api.voyageai.com: 4 embeddings",
            "https://ai-sdk.dev/providers/ai-sdk-providers/voyage",
        ),
    ),
    "jina_ai": Provider(
        base_url="https://api.jina.ai/v1",
        dialects=("openai-embeddings", "rerank"),
        include_usage=False,
        on_disconnect="drain",
        sources=("https://docs.litellm.ai/docs/providers/jina_ai",),
    ),
    "perplexity": Provider(
        base_url="https://api.perplexity.ai/v1",
        dialects=("openai-responses",),
        include_usage=False,
        on_disconnect="drain",
        hidden_context=True,
        quirks=(
            "Chat completions (Sonar) ended on 2026-09-27; responses are what is left.",
            "Searches and tools are billed beside tokens, told in `usage.cost`: store a price with `per_request`, or "
            'refuse such calls with `reserve.unpriced = "refuse"`.',
            "Citations and reasoning of deep research have prices of their own.",
        ),
        sources=(
            "https://docs.perplexity.ai/getting-started/pricing",
            "https://docs.perplexity.ai/docs/agent-api/migrate-from-sonar/overview.md",
            CANCELLATION,
        ),
    ),
    "zai": Provider(
        base_url="https://api.z.ai/api/paas/v4",
        dialects=("openai-chat", "anthropic-messages"),
        elsewhere={
            "anthropic-messages": Surface(base_url="https://api.z.ai/api/anthropic/v1", auth_header="authorization")
        },
        include_usage=True,
        on_disconnect="drain",
        quirks=("The usage comes beside the choices of the last chunk.", _NOT_LISTED),
        sources=(
            "api.z.ai: 2 chats",
            "https://www.developersdigest.tech/reference/api-compatibility/zai",
        ),
    ),
    "moonshot": Provider(
        base_url="https://api.moonshot.ai/v1",
        dialects=("openai-chat", "openai-responses", "anthropic-messages"),
        elsewhere={
            "anthropic-messages": Surface(base_url="https://api.moonshot.ai/anthropic/v1", auth_header="authorization")
        },
        include_usage=True,
        on_disconnect="drain",
        quirks=(
            "Unasked, the usage stands within the choice that ends the stream.",
            "What was cached is `cached_tokens`.",
            _NOT_LISTED,
        ),
        sources=(
            "https://www.developersdigest.tech/reference/api-compatibility/moonshot",
            "https://github.com/higress-group/higress/pull/1568",
            "https://github.com/vercel/ai/pull/12337",
        ),
    ),
    "minimax": Provider(
        base_url="https://api.minimax.io/v1",
        dialects=("openai-chat", "openai-responses", "anthropic-messages"),
        elsewhere={
            "anthropic-messages": Surface(base_url="https://api.minimax.io/anthropic/v1", auth_header="authorization")
        },
        include_usage=False,
        on_disconnect="drain",
        quirks=(_USAGE_UNKNOWN,),
        sources=(
            "https://platform.minimax.io/docs/api-reference/text-anthropic-api",
            "https://www.developersdigest.tech/reference/api-compatibility/minimax",
            CANCELLATION,
        ),
    ),
    "dashscope": Provider(
        base_url_hint="https://{workspace}.ap-southeast-1.maas.aliyuncs.com/compatible-mode/v1",
        include_usage=True,
        on_disconnect="drain",
        quirks=(
            "Messages are at `https://{workspace}.ap-southeast-1.maas.aliyuncs.com/apps/anthropic/v1`: an upstream of "
            'its own with `dialects = ["anthropic-messages"]`.',
        ),
        sources=(
            "https://www.alibabacloud.com/help/en/model-studio/compatibility-of-openai-with-dashscope",
            "https://www.alibabacloud.com/help/en/model-studio/anthropic-api-messages",
            CANCELLATION,
        ),
    ),
    "deepinfra": Provider(
        base_url="https://api.deepinfra.com/v1/openai",
        dialects=("openai-chat", "openai-completions", "openai-embeddings"),
        include_usage=False,
        on_disconnect="cancel",
        quirks=("The chunk that ends a stream carries the usage unasked.",),
        sources=("https://deepinfra.com/docs/openai_api", CANCELLATION),
    ),
    "novita": Provider(
        base_url="https://api.novita.ai/v3/openai",
        dialects=("openai-chat", "openai-completions"),
        include_usage=False,
        on_disconnect="cancel",
        quirks=(_USAGE_UNKNOWN,),
        sources=("https://novita.ai/docs/guides/llm-api", CANCELLATION),
    ),
    "nebius": Provider(
        base_url="https://api.tokenfactory.nebius.com/v1",
        include_usage=False,
        on_disconnect="drain",
        quirks=(_USAGE_UNKNOWN,),
        sources=("https://docs.tokenfactory.nebius.com/ai-models-inference/dedicated-endpoints", CANCELLATION),
    ),
    "sambanova": Provider(
        base_url="https://api.sambanova.ai/v1",
        include_usage=False,
        on_disconnect="drain",
        quirks=(_USAGE_UNKNOWN,),
        sources=("https://docs.sambanova.ai/cloud/docs", CANCELLATION),
    ),
    "snowflake": Provider(
        base_url_hint="https://{account}.snowflakecomputing.com/api/v2/cortex/v1",
        include_usage=True,
        on_disconnect="drain",
        quirks=(
            "It has messages of Anthropic's dialect for Claude alone; where all are Claude, say so in `dialects`.",
            _NOT_LISTED,
        ),
        sources=(
            "{account}.snowflakecomputing.com: 5 chats",
            "https://docs.snowflake.com/en/user-guide/snowflake-cortex/cortex-rest-api",
        ),
    ),
    "crusoe": Provider(
        base_url="https://api.inference.crusoecloud.com/v1",
        include_usage=False,
        on_disconnect="drain",
        quirks=(_USAGE_UNKNOWN, _NOT_LISTED),
        sources=("api.inference.crusoecloud.com: 2 chats",),
    ),
    "huggingface": Provider(
        base_url="https://router.huggingface.co/v1",
        dialects=("openai-chat", "openai-responses"),
        include_usage=True,
        on_disconnect="drain",
        quirks=(
            "The map has no prices of it: they are yours to set.",
            "Cached tokens come as each provider behind it spells them, `cached_tokens` for one.",
        ),
        sources=(
            "router.huggingface.co: 4 chats",
            "https://apis.io/examples/hugging-face/hugging-face-inference-providers-chat-completion-request-example/",
            "https://github.com/huggingface/hub-docs/pull/1980",
            CANCELLATION,
        ),
    ),
    "ollama": Provider(
        base_url="http://localhost:11434/v1",
        dialects=("openai-chat", "openai-responses", "openai-completions", "openai-embeddings", "anthropic-messages"),
        include_usage=True,
        on_disconnect="cancel",
        quirks=("It needs no key. The map's prices of it are 0: yours go before them.",),
        sources=(
            "localhost:11434: 1 chat",
            "https://docs.ollama.com/api/openai-compatibility",
            "https://docs.ollama.com/api/anthropic-compatibility",
        ),
    ),
    "hosted_vllm": Provider(
        base_url="http://localhost:8000/v1",
        dialects=(
            "openai-chat",
            "openai-responses",
            "openai-completions",
            "openai-embeddings",
            "rerank",
            "anthropic-messages",
        ),
        include_usage=True,
        on_disconnect="cancel",
        quirks=("It needs no key unless started with one. The map has no prices of it: they are yours to set.",),
        sources=("https://docs.vllm.ai/en/v0.22.1/serving/online_serving/",),
    ),
    # llama-server. Shown by a test that runs it, whose figures are those of xllamacpp 2026.10.
    "llama_cpp": Provider(
        base_url="http://localhost:8080/v1",
        dialects=("openai-chat", "openai-responses", "openai-completions", "openai-embeddings", "anthropic-messages"),
        include_usage=True,
        on_disconnect="cancel",
        counts_every_answer=False,
        quirks=(
            "It needs no key unless started with one. The map has no prices of it: they are yours to set.",
            "Its port is Tollgate's own by default; start one of them elsewhere.",
            "It answers under any model's name with the model that it was started with.",
            "Of several answers it reports the usage of one; calls for more than one are refused.",
            "It keeps no responses: `previous_response_id` is 400 there, `background` is answered at once.",
            "What it cannot do, images without their model for instance, is 500.",
        ),
        sources=("tests/e2e/test_llama_cpp.py",),
    ),
}
"""By the name under which the price map knows the provider. Any other name works with a base_url of its own."""
