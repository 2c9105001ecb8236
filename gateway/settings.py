"""Settings: a TOML file for what may be known, the environment for what may not. Frozen, and strict about every key.

Each room has a small record of its own, which it declares itself; here they are put together and read.
"""

from collections.abc import Iterator, Mapping
from decimal import Decimal
from pathlib import Path
from typing import Annotated, Final, Literal
from uuid import UUID

import msgspec

from gateway.core.address import network_of
from gateway.core.dialect import DialectName
from gateway.core.strict_toml import SettingsError, StrictToml
from gateway.core.toml_lines import Path as KeyPath
from gateway.edge.api.pace import ApiSettings
from gateway.edge.bodies import BodyLimits
from gateway.edge.connection import ConnectionLimits
from gateway.edge.door import AuthSettings
from gateway.edge.headers import never_passes
from gateway.identity.tokens import SECRET_BYTES_MIN, TokenSettings
from gateway.ledger.options import LedgerSettings
from gateway.ledger.plans import DEFAULT_PLANS, Plan, read_plans
from gateway.pricing.book import PriceOverride
from gateway.pricing.features import DEFAULT_FEATURES, FeatureCost, read_features
from gateway.pricing.sets import DEFAULT_PRICE_SETS, PriceSet, read_price_sets
from gateway.relay.catalogue import Alias, Served
from gateway.relay.settings import ReserveSettings
from gateway.translator.settings import Translated, TranslatorSettings, address_of, translated
from gateway.upstream.document import may_be_fetched
from gateway.upstream.providers import ANY_OTHER, PROVIDERS
from gateway.upstream.registry import AuthHeader, OnDisconnect, OutputLimitField, Timeouts, Upstream, Via

__all__ = ["MetricsSettings", "Settings", "SettingsError", "load_settings"]

DEFAULT_UPSTREAMS: Final = ("openai", "anthropic", "gemini")
"""Providers whose upstreams, named like them, the environment makes where the file has none."""
_VERSIONS: Final = {"anthropic": "/v1", "gemini": "/v1beta"}
"""What their base URLs end with, and their SDKs want the address without."""
_DECIDED_ELSEWHERE: Final = frozenset({"sole_owner", "secret"})
"""Fields of the rooms' records that the process finds out by itself."""
TRANSLATED_DIALECTS: Final[frozenset[DialectName]] = frozenset({"openai-chat", "openai-embeddings"})
_Port = Annotated[int, msgspec.Meta(le=65_535)]
_BEATS_BEFORE_DEAD_MIN: Final = 3


class MetricsSettings(msgspec.Struct, frozen=True, kw_only=True):
    port: int | None = None
    """A port of its own for /metrics, on the same host; without it they are on the gateway's."""
    orgs: tuple[str, ...] = ()
    """Ids of organisations that always have a label of their own."""
    orgs_top: int = 20
    """So many of the busiest others have one too; the rest is counted as `other`."""
    token: str = ""
    """From TOLLGATE_METRICS_TOKEN; empty: no token is asked for."""

    def __repr__(self) -> str:
        return f"MetricsSettings(port={self.port}, orgs={self.orgs}, orgs_top={self.orgs_top})"


class Settings(msgspec.Struct, frozen=True, kw_only=True):
    host: str = "127.0.0.1"
    port: int = 8080
    shutdown_drain_s: float = 60.0
    """How long open calls may go on after the signal to stop."""
    credits_per_usd: Decimal = Decimal(1000)
    insufficient_status: Literal[402, 429] = 402
    """The status for "cannot pay": 402, or 429 for clients that know no other way to be told to stop."""
    log_level: Literal["debug", "info", "warning", "error"] = "info"
    pool_size_max: int = 8
    """Database connections beside the ledger's own."""
    headers_to_upstream: tuple[str, ...] = ()
    """Callers' headers that are passed on, beside the usual few."""
    headers_to_caller: tuple[str, ...] = ()
    metrics: MetricsSettings = MetricsSettings()
    bodies: BodyLimits = BodyLimits()
    connections: ConnectionLimits = ConnectionLimits()
    auth: AuthSettings = AuthSettings()
    tokens: TokenSettings = TokenSettings()
    api: ApiSettings = ApiSettings()
    reserve: ReserveSettings = ReserveSettings()
    ledger: LedgerSettings = LedgerSettings()
    translator: TranslatorSettings = TranslatorSettings()
    translated: tuple[Translated, ...] = ()
    """Of the upstreams those that are called through the translator, as it knows them."""
    upstreams: tuple[Served, ...] = ()
    aliases: tuple[Alias, ...] = ()
    prices: tuple[PriceOverride, ...] = ()
    plans: tuple[Plan, ...] = DEFAULT_PLANS
    """What organisations can subscribe to."""
    price_sets: tuple[PriceSet, ...] = DEFAULT_PRICE_SETS
    """Prices that can be taken over by the name of their set."""
    features: Mapping[str, FeatureCost] = msgspec.field(default_factory=lambda: DEFAULT_FEATURES)
    """What deductions can name, by id."""
    database_url: str | None = None
    operator_key: str | None = None

    def __repr__(self) -> str:  # Secrets stay out of logs and tracebacks.
        return (
            f"Settings(host={self.host!r}, port={self.port}, upstreams={[one.upstream.name for one in self.upstreams]})"
        )

    def with_default_upstream(self, provider: str, *, base_url: str, api_key: str) -> "Settings":
        """With one upstream more, which serves every priced model of the provider under its own name; base_url "" is
        the provider's own. Raises ValueError like Upstream."""
        table = _UpstreamTable(name=provider, provider=provider, base_url=base_url)
        return msgspec.structs.replace(self, upstreams=(*self.upstreams, _served(table, api_key=api_key)))


class _Listen(msgspec.Struct, frozen=True, kw_only=True):
    host: str = "127.0.0.1"
    port: _Port = 8080


class _Metrics(msgspec.Struct, frozen=True, kw_only=True):
    port: _Port | None = None
    orgs: tuple[str, ...] = ()
    orgs_top: int = 20


class _Database(msgspec.Struct, frozen=True, kw_only=True):
    pool_size_max: int = 8


class _Headers(msgspec.Struct, frozen=True, kw_only=True):
    to_upstream: tuple[str, ...] = ()
    to_caller: tuple[str, ...] = ()


class _UpstreamTable(msgspec.Struct, frozen=True, kw_only=True):
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


class _TargetTable(msgspec.Struct, frozen=True, kw_only=True):
    upstream: str
    model: str


class _ModelTable(msgspec.Struct, frozen=True, kw_only=True):
    name: str
    targets: tuple[_TargetTable, ...]
    orgs: tuple[UUID, ...] | None = None


class _File(msgspec.Struct, frozen=True, kw_only=True):
    """The configuration file's shape."""

    credits_per_usd: Decimal = Decimal(1000)
    insufficient_status: Literal[402, 429] = 402
    shutdown_drain_s: float = 60.0
    log_level: Literal["debug", "info", "warning", "error"] = "info"
    plans_file: str = ""
    price_sets_file: str = ""
    features_file: str = ""
    listen: _Listen = _Listen()
    metrics: _Metrics = _Metrics()
    database: _Database = _Database()
    headers: _Headers = _Headers()
    bodies: BodyLimits = BodyLimits()
    connections: ConnectionLimits = ConnectionLimits()
    auth: AuthSettings = AuthSettings()
    jwt: TokenSettings = TokenSettings()
    api: ApiSettings = ApiSettings()
    reserve: ReserveSettings = ReserveSettings()
    ledger: LedgerSettings = LedgerSettings()
    translator: TranslatorSettings = TranslatorSettings()
    upstreams: tuple[_UpstreamTable, ...] = ()
    models: tuple[_ModelTable, ...] = ()
    prices: tuple[PriceOverride, ...] = ()


def load_settings(
    path: Path | None, environ: Mapping[str, str], *, host: str | None = None, port: int | None = None
) -> Settings:
    """The settings of a file, or without one the defaults; `host` and `port` override it. Raises SettingsError.

    Secrets come from `environ` alone: OPENAI_API_KEY (and OPENAI_BASE_URL), and ANTHROPIC_ and GEMINI_ likewise, make
    upstreams where the file has none.
    """
    source = StrictToml("", _File, name="defaults") if path is None else _read(path)
    file = source.value
    settings = Settings(
        host=file.listen.host if host is None else host,
        port=file.listen.port if port is None else port,
        shutdown_drain_s=file.shutdown_drain_s,
        credits_per_usd=file.credits_per_usd,
        insufficient_status=file.insufficient_status,
        log_level=file.log_level,
        pool_size_max=file.database.pool_size_max,
        headers_to_upstream=file.headers.to_upstream,
        headers_to_caller=file.headers.to_caller,
        metrics=MetricsSettings(
            port=file.metrics.port,
            orgs=file.metrics.orgs,
            orgs_top=file.metrics.orgs_top,
            token=environ.get("TOLLGATE_METRICS_TOKEN", ""),
        ),
        bodies=file.bodies,
        connections=file.connections,
        auth=file.auth,
        tokens=_tokens(source, environ, beside=path),
        api=file.api,
        reserve=file.reserve,
        ledger=file.ledger,
        translator=file.translator,
        translated=tuple(_translated(source, environ)),
        upstreams=tuple(_upstreams(source, environ)),
        aliases=tuple(_aliases(source)),
        prices=file.prices,
        plans=_plans(file.plans_file, beside=path),
        price_sets=_price_sets(file.price_sets_file, beside=path),
        features=_features(file.features_file, beside=path),
        database_url=environ.get("DATABASE_URL") or None,
        operator_key=environ.get("TOLLGATE_OPERATOR_KEY") or None,
    )
    return settings if settings.upstreams else _with_default_upstreams(settings, environ)


def _with_default_upstreams(settings: Settings, environ: Mapping[str, str]) -> Settings:
    """Those whose keys, or whose addresses, are in the environment."""
    named = (
        ("openai", environ.get("OPENAI_API_KEY", ""), environ.get("OPENAI_BASE_URL", "")),
        ("anthropic", environ.get("ANTHROPIC_API_KEY", ""), environ.get("ANTHROPIC_BASE_URL", "")),
        ("gemini", environ.get("GEMINI_API_KEY", ""), environ.get("GEMINI_BASE_URL", "")),
    )
    for provider, api_key, address in named:
        if not (api_key or address):
            continue
        base_url, version = address.rstrip("/"), _VERSIONS.get(provider, "")
        if base_url and not base_url.endswith(version):
            base_url += version
        try:
            settings = settings.with_default_upstream(provider, base_url=base_url, api_key=api_key)
        except ValueError as error:
            variables = f"{provider.upper()}_BASE_URL, {provider.upper()}_API_KEY"
            raise SettingsError(f"{variables}: {error}") from error
    return settings


def _read(path: Path) -> StrictToml[_File]:
    source = StrictToml(_text(path), _File, name=str(path), reserved=_DECIDED_ELSEWHERE)
    file = source.value
    if file.credits_per_usd == 0:
        source.refuse(("credits_per_usd",), "must be more than 0")
    for direction, listed in (("to_upstream", file.headers.to_upstream), ("to_caller", file.headers.to_caller)):
        for index, header in enumerate(listed):
            if never_passes(header):
                source.refuse(("headers", direction, index), f"{header} never passes: it is a credential or framing")
    for index, network in enumerate(file.auth.trusted_proxies):
        try:
            network_of(network)
        except ValueError as error:
            source.refuse(("auth", "trusted_proxies", index), f"is no network: {error}")
    if file.ledger.dead_after_s < _BEATS_BEFORE_DEAD_MIN * file.ledger.beat_s:
        source.refuse(("ledger", "dead_after_s"), f"must be at least {_BEATS_BEFORE_DEAD_MIN} × ledger.beat_s")
    return source


def _tokens(source: StrictToml[_File], environ: Mapping[str, str], *, beside: Path | None) -> TokenSettings:
    """With the secret, or with where the keys are: an address, or a file looked for from the folder of this one."""
    jwt = source.value.jwt
    if not jwt.algorithms or beside is None:
        return jwt
    for name in ("issuer", "audience"):
        if not getattr(jwt, name):
            source.refuse(("jwt", "algorithms"), f"needs {name}: whose tokens are taken, and for whom they are made")
    if "HS256" in jwt.algorithms:
        if set(jwt.algorithms) != {"HS256"} or jwt.jwks:
            source.refuse(("jwt", "algorithms"), "HS256 goes with no other algorithm and no jwks: its key is a secret")
        secret = environ.get("TOLLGATE_JWT_SECRET", "")
        if len(secret.encode()) < SECRET_BYTES_MIN:
            source.refuse(
                ("jwt", "algorithms"), f"HS256 needs TOLLGATE_JWT_SECRET, with at least {SECRET_BYTES_MIN} bytes"
            )
        return msgspec.structs.replace(jwt, secret=secret)
    if "://" in jwt.jwks:
        if not may_be_fetched(jwt.jwks):
            source.refuse(("jwt", "jwks"), "must be an https address, or one of this machine, or a file")
        return jwt
    file = beside.parent / jwt.jwks
    if not file.is_file():
        source.refuse(("jwt", "jwks" if jwt.jwks else "algorithms"), f"there is no file of keys {jwt.jwks!r}")
    return msgspec.structs.replace(jwt, jwks=str(file.resolve()))


def _plans(plans_file: str, *, beside: Path | None) -> tuple[Plan, ...]:
    """Of the file, which is looked for from the folder of the one that names it; without one the default."""
    if not plans_file or beside is None:
        return DEFAULT_PLANS
    path = beside.parent / plans_file
    return read_plans(_text(path), name=str(path))


def _price_sets(price_sets_file: str, *, beside: Path | None) -> tuple[PriceSet, ...]:
    """As with the plans."""
    if not price_sets_file or beside is None:
        return DEFAULT_PRICE_SETS
    path = beside.parent / price_sets_file
    return read_price_sets(_text(path), name=str(path))


def _features(features_file: str, *, beside: Path | None) -> Mapping[str, FeatureCost]:
    """Found like the plans."""
    return read_features(beside.parent / features_file) if features_file and beside is not None else DEFAULT_FEATURES


def _text(path: Path) -> str:
    try:
        return path.read_text("utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise SettingsError(f"{path}: {error}") from error


def _upstreams(source: StrictToml[_File], environ: Mapping[str, str]) -> Iterator[Served]:
    names: set[str] = set()
    for index, table in enumerate(source.value.upstreams):
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
            yield _served(table, api_key=environ[table.api_key_env] if table.api_key_env else "")
        except ValueError as error:
            source.refuse(path, str(error))


def _translated(source: StrictToml[_File], environ: Mapping[str, str]) -> Iterator[Translated]:
    for index, table in enumerate(source.value.upstreams):
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


def _served_through_translator(table: _UpstreamTable) -> Served:
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


def _served(table: _UpstreamTable, *, api_key: str) -> Served:
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


def _aliases(source: StrictToml[_File]) -> Iterator[Alias]:
    # Without [[upstreams]] there are those that the environment (or the demo) makes.
    upstreams = {table.name for table in source.value.upstreams} or {*DEFAULT_UPSTREAMS}
    names: set[str] = set()
    for index, table in enumerate(source.value.models):
        path: KeyPath = ("models", index)
        if table.name in names:
            source.refuse((*path, "name"), f"{table.name} is the name of another model")
        names.add(table.name)
        if not table.targets:
            source.refuse((*path, "targets"), "must name at least one target")
        for number, target in enumerate(table.targets):
            if target.upstream not in upstreams:
                source.refuse((*path, "targets", number, "upstream"), f"there is no upstream named {target.upstream}")
        orgs = None if table.orgs is None else frozenset(table.orgs)
        yield Alias(table.name, tuple((target.upstream, target.model) for target in table.targets), orgs)
