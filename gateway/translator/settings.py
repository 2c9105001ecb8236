"""What the translator may use, and what it is told of each upstream that is called through it."""

import math
from collections.abc import Mapping
from typing import Annotated, Final
from urllib.parse import quote, urlsplit

import msgspec

PARAMS: Final = frozenset(
    {
        "api_version",
        "aws_access_key_id",
        "aws_bedrock_runtime_endpoint",
        "aws_external_id",
        "aws_region_name",
        "aws_role_name",
        "aws_secret_access_key",
        "aws_session_name",
        "aws_session_token",
        "aws_sts_endpoint",
        "azure_ad_token",
        "client_id",
        "client_secret",
        "deployment_id",
        "oci_compartment_id",
        "oci_fingerprint",
        "oci_key",
        "oci_region",
        "oci_tenancy",
        "oci_user",
        "organization",
        "project_id",
        "region_name",
        "space_id",
        "tenant_id",
        "vertex_credentials",
        "vertex_location",
        "vertex_project",
    }
)
"""litellm's names for what says where a provider is and who asks. None that could make it call, log or retry more."""

_KNOWN_TO_ALL: Final = frozenset(
    {"api_base", "api_version", "aws_bedrock_runtime_endpoint", "aws_region_name", "aws_sts_endpoint", "deployment_id"}
    | {"oci_region", "region_name", "vertex_location", "vertex_project"}
)

_HOSTS: Final[Mapping[str, tuple[str, ...]]] = {
    "azure": ("login.microsoftonline.com",),
    "azure_ai": ("login.microsoftonline.com",),
    "bedrock": ("bedrock-runtime.{aws_region_name}.amazonaws.com", "sts.{aws_region_name}.amazonaws.com"),
    "cohere": ("api.cohere.com", "api.cohere.ai"),
    "cohere_chat": ("api.cohere.com", "api.cohere.ai"),
    "sagemaker_chat": ("runtime.sagemaker.{aws_region_name}.amazonaws.com", "sts.{aws_region_name}.amazonaws.com"),
    "vertex_ai": (
        "{vertex_location}-aiplatform.googleapis.com",
        "aiplatform.googleapis.com",
        "oauth2.googleapis.com",
        "sts.googleapis.com",
        "iamcredentials.googleapis.com",
    ),
    "watsonx": ("iam.cloud.ibm.com",),
}
"""Where litellm asks a provider, or for a token, when nothing else is said."""


class TranslatorSettings(msgspec.Struct, frozen=True, kw_only=True):
    processes: Annotated[int, msgspec.Meta(ge=1, le=64)] = 1
    """Each takes some 250 MB, and one call at a time of a core."""
    calls_max: Annotated[int, msgspec.Meta(ge=1, le=4096)] = 64
    """Open calls in one process; more are refused with 503."""
    body_bytes_max: Annotated[int, msgspec.Meta(ge=1024)] = 32 * 1024 * 1024
    start_s: float = 60.0
    """From the start of a process until it listens; calls wait for it."""
    silence_s: float = 15.0
    """A process that has said nothing for so long is killed."""
    restart_calls: Annotated[int, msgspec.Meta(ge=1)] = 20_000
    """After so many calls a process is replaced, once its calls have ended."""
    restart_mib: Annotated[int, msgspec.Meta(ge=300)] = 600
    """So much resident memory has it replaced, once its calls have ended; twice as much has it killed."""
    backoff_max_s: float = 30.0
    """The longest wait before another start, when one after the other fails."""

    def __post_init__(self) -> None:
        for name in ("start_s", "silence_s", "backoff_max_s"):
            if not (math.isfinite(getattr(self, name)) and getattr(self, name) > 0):
                raise ValueError(f"{name} must be a positive number of seconds")


class Translated(msgspec.Struct, frozen=True, kw_only=True):
    """One upstream as the child knows it. Holds credentials."""

    name: str
    provider: str
    """By litellm's name."""
    params: dict[str, str]
    hosts: tuple[tuple[str, int], ...]
    """Where it may connect to."""
    timeout_s: float

    def secrets(self) -> list[str]:
        """What no answer may repeat."""
        return [value for key, value in self.params.items() if key not in _KNOWN_TO_ALL and len(value) >= 8]

    def __repr__(self) -> str:
        return f"Translated(name={self.name!r}, provider={self.provider!r})"


class Orders(msgspec.Struct, frozen=True, kw_only=True):
    """What a child is told on its standard input, in one line of JSON, before it does anything."""

    socket: str
    body_bytes_max: int
    upstreams: tuple[Translated, ...]


class Beat(msgspec.Struct, frozen=True, kw_only=True):
    """What a child says once it listens, and every second from then on: a line of JSON."""

    rss_bytes: int
    calls: int
    """Since it was started."""


def address_of(name: str) -> str:
    """Where the gateway finds an upstream behind the translator's socket."""
    return f"http://translator/{quote(name, safe='')}"


def translated(
    *,
    name: str,
    provider: str,
    base_url: str,
    api_key: str,
    params: Mapping[str, str],
    hosts: tuple[str, ...],
    timeout_s: float,
) -> Translated:
    """Raises ValueError, naming the setting."""
    unknown = sorted(params.keys() - PARAMS)
    if unknown:
        raise ValueError(f"params.{unknown[0]} is none that is passed on; those are: {', '.join(sorted(PARAMS))}")
    said = dict(params)
    if api_key:
        said["api_key"] = api_key
    places = {_place(host) for host in hosts}
    if base_url:
        parts = urlsplit(base_url)
        if parts.scheme not in ("http", "https") or not parts.hostname or parts.username is not None:
            raise ValueError("base_url must be an http or https address without a user")
        said["aws_bedrock_runtime_endpoint" if provider == "bedrock" else "api_base"] = base_url.rstrip("/")
        places.add((parts.hostname, parts.port or (443 if parts.scheme == "https" else 80)))
    for host in _HOSTS.get(provider, ()):
        try:
            places.add((host.format_map(params).lower(), 443))
        except KeyError:
            continue  # its name depends on what was not said
    if not places:
        raise ValueError(f"needs a base_url or hosts: where {provider} is asked is not known here")
    return Translated(name=name, provider=provider, params=said, hosts=tuple(sorted(places)), timeout_s=timeout_s)


def _place(host: str) -> tuple[str, int]:
    parts = urlsplit(f"//{host}")
    if not parts.hostname or parts.path or parts.username is not None:
        raise ValueError(f"hosts: {host} is no host, with or without a port")
    return parts.hostname, parts.port or 443
