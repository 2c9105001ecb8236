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
from gateway.translator.settings import Translated, TranslatorSettings
from gateway.upstream.document import may_be_fetched
from gateway.upstream_settings import UpstreamTable, served_at, served_upstreams, translated_ones

__all__ = ["MetricsSettings", "Settings", "SettingsError", "load_settings"]

DEFAULT_UPSTREAMS: Final = ("openai", "anthropic", "gemini")
"""Providers whose upstreams, named like them, the environment makes where the file has none."""
_VERSIONS: Final = {"anthropic": "/v1", "gemini": "/v1beta"}
"""What their base URLs end with, and their SDKs want the address without."""
_DECIDED_ELSEWHERE: Final = frozenset({"sole_owner", "secret"})
"""Fields of the rooms' records that the process finds out by itself."""
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
        table = UpstreamTable(name=provider, provider=provider, base_url=base_url)
        return msgspec.structs.replace(self, upstreams=(*self.upstreams, served_at(table, api_key=api_key)))


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
    upstreams: tuple[UpstreamTable, ...] = ()
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
        translated=tuple(translated_ones(source, source.value.upstreams, environ)),
        upstreams=tuple(served_upstreams(source, source.value.upstreams, environ)),
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
