"""The file's `[[upstreams]]`: their shape, and what they mean beside the habits of a known provider."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Final

import msgspec

from gateway.core.dialect import DialectName
from gateway.core.strict_toml import StrictToml
from gateway.core.toml_lines import Path as KeyPath
from gateway.relay.catalogue import Served
from gateway.translator.settings import Translated, address_of, translated
from gateway.upstream.providers import ANY_OTHER, PROVIDERS
from gateway.upstream.registry import AuthHeader, OnDisconnect, OutputLimitField, Timeouts, Upstream, Via

TRANSLATED_DIALECTS: Final[frozenset[DialectName]] = frozenset({"openai-chat", "openai-embeddings"})
"""What the translator speaks."""


class UpstreamTable(msgspec.Struct, frozen=True, kw_only=True):
    """One of `[[upstreams]]`; what is None is as the provider's habits are."""

    name: str
    provider: str
    base_url: str = ""
    api_key_env: str = ""
    models: tuple[str, ...] | None = None
    dialects: tuple[DialectName, ...] | None = None
    auth_header: AuthHeader | None = None
    include_usage: bool | None = None
    on_disconnect: OnDisconnect | None = None
    output_limit_field: OutputLimitField | None = None
    extended_chat: bool | None = None
    counts_every_answer: bool | None = None
    hidden_context: bool | None = None
    headers: dict[str, str] = {}
    timeouts: Timeouts = Timeouts()
    via: Via = "direct"
    params: dict[str, str] = {}
    params_env: dict[str, str] = {}
    hosts: tuple[str, ...] = ()


def served_upstreams(
    source: StrictToml[Any], tables: Sequence[UpstreamTable], environ: Mapping[str, str]
) -> Iterator[Served]:
    """What the tables say is served, of a file that refuses what is wrong with them by its line."""
    names: set[str] = set()
    for index, table in enumerate(tables):
        path: KeyPath = ("upstreams", index)
        if table.name in names:
            source.refuse((*path, "name"), f"{table.name} is the name of another upstream")
        names.add(table.name)
        habits = PROVIDERS.get(table.provider, ANY_OTHER)
        if table.via == "translator":
            yield _served_through_translator(table)
            continue
        for name in ("params", "params_env", "hosts"):
            if getattr(table, name):
                source.refuse((*path, name), 'is for upstreams with via = "translator"')
        if not table.base_url and not habits.base_url:
            known = ", ".join(sorted(name for name, each in PROVIDERS.items() if each.base_url))
            like = f" such as {habits.base_url_hint}" if habits.base_url_hint else ""
            source.refuse((*path, "provider"), f"needs a base_url{like}; without one only these are known: {known}")
        if table.api_key_env and not environ.get(table.api_key_env):
            source.refuse((*path, "api_key_env"), f"{table.api_key_env} is not set in the environment")
        try:
            yield served_at(table, api_key=environ[table.api_key_env] if table.api_key_env else "")
        except ValueError as error:
            source.refuse(path, str(error))


def translated_ones(
    source: StrictToml[Any], tables: Sequence[UpstreamTable], environ: Mapping[str, str]
) -> Iterator[Translated]:
    """Those that are called through the translator, as it knows them, with their secrets."""
    for index, table in enumerate(tables):
        if table.via != "translator":
            continue
        path: KeyPath = ("upstreams", index)
        for name in ("headers", "auth_header", "include_usage", "extended_chat"):
            if getattr(table, name):
                source.refuse((*path, name), 'does not go with via = "translator"')
        if table.dialects is not None and not set(table.dialects) <= TRANSLATED_DIALECTS:
            source.refuse((*path, "dialects"), f"can be of {', '.join(sorted(TRANSLATED_DIALECTS))} there")
        for name, variable in (("api_key_env", table.api_key_env), *table.params_env.items()):
            if variable and not environ.get(variable):
                where = (*path, name) if name == "api_key_env" else (*path, "params_env", name)
                source.refuse(where, f"{variable} is not set in the environment")
        secret = {name: environ[variable] for name, variable in table.params_env.items()}
        try:
            yield translated(
                name=table.name,
                provider=table.provider,
                base_url=table.base_url,
                api_key=environ[table.api_key_env] if table.api_key_env else "",
                params={**table.params, **secret},
                hosts=table.hosts,
                timeout_s=max(table.timeouts.first_event_s, table.timeouts.idle_s),
            )
        except ValueError as error:
            source.refuse(path, str(error))


def _served_through_translator(table: UpstreamTable) -> Served:
    """What litellm speaks is OpenAI's; the credentials are the translator's. Whether a stream that is left is billed in
    full is known of few of these providers, so it is read to its end."""
    upstream = Upstream(
        name=table.name,
        provider=table.provider,
        base_url=address_of(table.name),
        api_key="",
        via="translator",
        dialects=TRANSLATED_DIALECTS if table.dialects is None else frozenset(table.dialects),
        timeouts=table.timeouts,
        on_disconnect=table.on_disconnect or "drain",
        output_limit_field=table.output_limit_field or "max_tokens",
        hidden_context=bool(table.hidden_context),
    )
    return Served(upstream, table.models)


def served_at(table: UpstreamTable, *, api_key: str) -> Served:
    """What the table leaves open is as the provider's habits are. Raises ValueError like Upstream.

    Under an address or with a header of the operator's own, the provider's other addresses get no credential, and what
    is spoken there is spoken only where the table says so.
    """
    habits = PROVIDERS.get(table.provider, ANY_OTHER)
    elsewhere = {} if table.base_url or table.auth_header else habits.elsewhere
    spoken = [name for name in habits.dialects if name in elsewhere or name not in habits.elsewhere]
    upstream = Upstream(
        name=table.name,
        provider=table.provider,
        base_url=table.base_url or habits.base_url,
        api_key=api_key,
        dialects=frozenset(spoken if table.dialects is None else table.dialects),
        auth_header=table.auth_header or habits.auth_header,
        elsewhere=elsewhere,
        timeouts=table.timeouts,
        include_usage=habits.include_usage if table.include_usage is None else table.include_usage,
        on_disconnect=table.on_disconnect or habits.on_disconnect,
        output_limit_field=table.output_limit_field or habits.output_limit_field,
        extended_chat=habits.extended_chat if table.extended_chat is None else table.extended_chat,
        counts_every_answer=(
            habits.counts_every_answer if table.counts_every_answer is None else table.counts_every_answer
        ),
        hidden_context=habits.hidden_context if table.hidden_context is None else table.hidden_context,
        headers=tuple(table.headers.items()),
    )
    return Served(upstream, table.models)
