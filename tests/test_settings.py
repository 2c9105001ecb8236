from decimal import Decimal
from pathlib import Path

import pytest

from gateway.settings import Settings, SettingsError, load_settings

EXAMPLE = Path(__file__).parent.parent / "config" / "tollgate.toml"
KEY = {"OPENAI_API_KEY": "sk-one"}
_JWT = "[jwt]\nissuer = 'i'\naudience = 'a'\n"


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "tollgate.toml"


def load(file: Path, text: str, environ: dict[str, str] | None = None) -> Settings:
    file.write_text(text)
    return load_settings(file, environ or {})


def test_the_example_says_what_the_defaults_are() -> None:
    assert load_settings(EXAMPLE, {}) == load_settings(None, {}) == Settings()


def test_what_the_example_shows_in_comments_is_valid(file: Path) -> None:
    lines = EXAMPLE.read_text().splitlines()
    begins = next(number for number, line in enumerate(lines) if "--- Upstreams" in line)
    shown = [line.removeprefix("# ") for line in lines[begins:] if " --- " not in line and line != "#"]
    settings = load(file, "\n".join([*lines[:begins], *shown]).replace("# port = 9090", "port = 9090"), KEY)
    assert settings.metrics.port == 9090
    assert settings.upstreams[0].upstream.api_key == "sk-one"
    assert settings.upstreams[0].models == ("gpt-4o-mini",)
    assert settings.aliases[0].targets == (("openai", "gpt-4o-mini"),)
    assert settings.prices[0].output_usd_per_million == Decimal("1.20")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (
            "\n[listen]\nprot = 1\n",
            "tollgate.toml:3: listen.prot: unknown key; did you mean port? known here: host, port",
        ),
        ("hots = 'x'\n", "tollgate.toml:1: hots: unknown key"),
        (
            '[[upstreams]]\nname = "a"\nprovider = "openai"\n[upstreams.timeouts]\nidle = 1',
            "tollgate.toml:5: upstreams[0].timeouts.idle: unknown key; did you mean idle_s?",
        ),
        (
            '[[models]]\nname = "a"\ntargets = [\n  { upstream = "a", modle = "b" },\n]',
            "tollgate.toml:3: models[0].targets[0].modle: unknown key; did you mean model?",
        ),
        ("[ledger]\nsole_owner = true", "tollgate.toml:2: ledger.sole_owner: unknown key"),
        ('[listen]\n\nport = "8080"', "tollgate.toml:3: listen.port: Expected `int`, got `str`"),
        ("[listen]\nport = 65536", "tollgate.toml:2: listen.port: Expected `int` <= 65535"),
        ("insufficient_status = 403", "tollgate.toml:1: insufficient_status: Invalid enum value 403"),
        ("listen = 1\n", "tollgate.toml:1: listen: Expected `object`, got `int`"),
        ("[ledger]\nbeat_s = -1", "tollgate.toml:2: ledger.beat_s: must be a finite number and not negative"),
        ("[ledger]\nbeat_s = nan", "tollgate.toml:2: ledger.beat_s: must be a finite number"),
        ("[ledger]\nbeat_s = 0", "tollgate.toml:2: ledger.beat_s: must be more than 0"),
        ("[ledger]\nlanes = 0", "tollgate.toml:2: ledger.lanes: must be more than 0"),
        ("[ledger]\nmonths_ahead = 0", "tollgate.toml:2: ledger.months_ahead: must be more than 0"),
        (
            "[bodies]\nbody_bytes_per_s_min = 0",
            "tollgate.toml:2: bodies.body_bytes_per_s_min: must be more than 0",
        ),
        ("[ledger]\nbeat_s = 20", "tollgate.toml:1: ledger.dead_after_s: must be at least 3 × ledger.beat_s"),
        ("credits_per_usd = 0", "tollgate.toml:1: credits_per_usd: must be more than 0"),
        (
            "[headers]\nto_upstream = ['x-mine', 'Authorization']",
            "tollgate.toml:2: headers.to_upstream[1]: Authorization never passes",
        ),
        ("[headers]\nto_caller = ['set-cookie']", "tollgate.toml:2: headers.to_caller[0]: set-cookie never passes"),
        ("[[upstreams]]\nname = 'a'", "tollgate.toml:1: upstreams[0]: Object missing required field `provider`"),
        ("[[upstreams]]\nname = 'a'\nprovider = 'own'", "tollgate.toml:3: upstreams[0].provider: needs a base_url"),
        (
            "[[upstreams]]\nname = 'a'\nprovider = 'azure'",
            "upstreams[0].provider: needs a base_url such as https://{resource}.openai.azure.com/openai/v1; without",
        ),
        (
            "[[upstreams]]\nname = 'a'\nprovider = 'openai'\nbase_url = 'ftp://x'",
            "tollgate.toml:1: upstreams[0]: base_url must be an http or https address",
        ),
        (
            "[[upstreams]]\nname = 'a'\nprovider = 'openai'\napi_key_env = 'MY_KEY'",
            "tollgate.toml:4: upstreams[0].api_key_env: MY_KEY is not set in the environment",
        ),
        (
            "[[upstreams]]\nname = 'a'\nprovider = 'openai'\n[[upstreams]]\nname = 'a'\nprovider = 'groq'",
            "tollgate.toml:5: upstreams[1].name: a is the name of another upstream",
        ),
        (
            "[[models]]\nname = 'fast'\ntargets = [{ upstream = 'a', model = 'm' }]",
            "tollgate.toml:3: models[0].targets[0].upstream: there is no upstream named a",
        ),
        (
            "[[models]]\nname = 'fast'\ntargets = []",
            "tollgate.toml:3: models[0].targets: must name at least one target",
        ),
        (
            "[auth]\ntrusted_proxies = ['127.0.0.1', '10.0.0.1/8']",
            "tollgate.toml:2: auth.trusted_proxies[1]: is no network: 10.0.0.1/8 has host bits set",
        ),
        ("[auth]\nfailures_burst_max = 0", "tollgate.toml:2: auth.failures_burst_max: must be more than 0"),
        ("[jwt]\nalgorithms = ['none']", "tollgate.toml:2: jwt.algorithms[0]: Invalid enum value 'none'"),
        ("[jwt]\nsecret = 'x'", "tollgate.toml:2: jwt.secret: unknown key"),
        ("[jwt]\nalgorithms = ['RS256']", "tollgate.toml:2: jwt.algorithms: needs issuer"),
        ("[jwt]\nissuer = 'i'\nalgorithms = ['RS256']", "tollgate.toml:3: jwt.algorithms: needs audience"),
        (f"{_JWT}algorithms = ['HS256', 'RS256']", "tollgate.toml:4: jwt.algorithms: HS256 goes with no other"),
        (f"{_JWT}algorithms = ['HS256']\njwks = 'keys.json'", "tollgate.toml:4: jwt.algorithms: HS256 goes with no"),
        (f"{_JWT}algorithms = ['HS256']", "tollgate.toml:4: jwt.algorithms: HS256 needs TOLLGATE_JWT_SECRET"),
        (f"{_JWT}algorithms = ['RS256']", "tollgate.toml:4: jwt.algorithms: there is no file of keys ''"),
        (f"{_JWT}algorithms = ['RS256']\njwks = 'keys.json'", "tollgate.toml:5: jwt.jwks: there is no file of keys"),
        (
            f"{_JWT}algorithms = ['RS256']\njwks = 'http://login/k'",
            "tollgate.toml:5: jwt.jwks: must be an https address",
        ),
        (f"{_JWT}roles = {{ a = 'manager' }}", "tollgate.toml:4: jwt.roles"),
        ("[jwt]\ntoken_lifetime_max_s = 0", "tollgate.toml:2: jwt.token_lifetime_max_s: must be more than 0"),
        ("a = 1\na = 2", "tollgate.toml: not TOML:"),
    ],
)
def test_a_wrong_setting_is_refused_with_its_file_line_and_key(file: Path, text: str, message: str) -> None:
    with pytest.raises(SettingsError) as refused:
        load(file, text)
    assert message in str(refused.value)


def test_a_file_that_cannot_be_read_is_named(file: Path) -> None:
    with pytest.raises(SettingsError, match="No such file"):
        load_settings(file, {})


def test_without_an_upstream_in_the_file_the_environment_defines_one() -> None:
    [served] = load_settings(None, KEY).upstreams
    assert served.models is None
    assert (served.upstream.name, served.upstream.provider) == ("openai", "openai")
    assert served.upstream.base_url == "https://api.openai.com/v1"
    assert served.upstream.api_key == "sk-one"
    [served] = load_settings(None, {"OPENAI_BASE_URL": "http://127.0.0.1:9/v1/"}).upstreams
    assert (served.upstream.base_url, served.upstream.api_key) == ("http://127.0.0.1:9/v1", "")
    assert load_settings(None, {"OPENAI_API_KEY": ""}).upstreams == ()


def test_anthropics_key_defines_an_upstream_in_its_dialect() -> None:
    [served] = load_settings(None, {"ANTHROPIC_API_KEY": "sk-ant"}).upstreams
    upstream = served.upstream
    assert (upstream.name, upstream.provider, upstream.api_key) == ("anthropic", "anthropic", "sk-ant")
    assert (upstream.dialects, upstream.auth_header) == (frozenset({"anthropic-messages"}), "x-api-key")
    assert upstream.base_url == "https://api.anthropic.com/v1"
    for base_url in ("http://127.0.0.1:9", "http://127.0.0.1:9/", "http://127.0.0.1:9/v1", "http://127.0.0.1:9/v1/"):
        [served] = load_settings(None, {"ANTHROPIC_BASE_URL": base_url}).upstreams
        assert served.upstream.base_url == "http://127.0.0.1:9/v1"
    both = load_settings(None, {**KEY, "ANTHROPIC_API_KEY": "sk-ant"}).upstreams
    assert [one.upstream.name for one in both] == ["openai", "anthropic"]
    with pytest.raises(SettingsError, match="ANTHROPIC_BASE_URL"):
        load_settings(None, {"ANTHROPIC_BASE_URL": "nonsense"})


def test_geminis_key_defines_an_upstream_in_its_dialects() -> None:
    [served] = load_settings(None, {"GEMINI_API_KEY": "AIza"}).upstreams
    upstream = served.upstream
    assert (upstream.name, upstream.provider, upstream.api_key) == ("gemini", "gemini", "AIza")
    assert upstream.dialects >= {"gemini-generate", "gemini-embed"}
    assert (upstream.auth_header, upstream.on_disconnect) == ("x-goog-api-key", "drain")
    assert upstream.base_url == "https://generativelanguage.googleapis.com/v1beta"
    for base_url in ("http://127.0.0.1:9", "http://127.0.0.1:9/", "http://127.0.0.1:9/v1beta/"):
        [served] = load_settings(None, {"GEMINI_BASE_URL": base_url}).upstreams
        assert served.upstream.base_url == "http://127.0.0.1:9/v1beta"
    with pytest.raises(SettingsError, match="GEMINI_BASE_URL"):
        load_settings(None, {"GEMINI_BASE_URL": "nonsense"})


def test_an_upstream_says_which_dialects_it_speaks(file: Path) -> None:
    text = "[[upstreams]]\nname = 'm'\nprovider = 'vllm'\nbase_url = 'http://127.0.0.1:9/v1'\n"
    text += "dialects = ['openai-chat', 'anthropic-messages']\nauth_header = 'x-api-key'"
    [served] = load(file, text).upstreams
    assert served.upstream.dialects == {"openai-chat", "anthropic-messages"}
    with pytest.raises(SettingsError, match="dialects"):
        load(file, text.replace("openai-chat", "latin"))


def test_a_model_may_lead_to_the_upstream_of_the_environment(file: Path) -> None:
    text = '[[models]]\nname = "fast"\ntargets = [{ upstream = "openai", model = "gpt-4o-mini" }]'
    settings = load(file, text, {"OPENAI_API_KEY": "sk-env"})
    assert settings.aliases[0].targets == (("openai", "gpt-4o-mini"),)


def test_an_upstream_in_the_file_stands_alone(file: Path) -> None:
    text = "[[upstreams]]\nname = 'own'\nprovider = 'vllm'\nbase_url = 'http://127.0.0.1:8000/v1'"
    assert [served.upstream.name for served in load(file, text, KEY).upstreams] == ["own"]


def test_a_providers_habits_hold_unless_the_file_says_otherwise(file: Path) -> None:
    text = "[[upstreams]]\nname = 'm'\nprovider = 'mistral'\n"
    [served] = load(file, text).upstreams
    assert (served.upstream.include_usage, served.upstream.on_disconnect) == (False, "drain")
    assert not served.upstream.hidden_context
    [served] = load(file, text.replace("mistral", "perplexity")).upstreams
    assert served.upstream.hidden_context
    [served] = load(file, text.replace("mistral", "perplexity") + "hidden_context = false").upstreams
    assert not served.upstream.hidden_context
    [served] = load(file, text + "include_usage = true\non_disconnect = 'cancel'").upstreams
    assert (served.upstream.include_usage, served.upstream.on_disconnect) == (True, "cancel")


def test_a_dialect_that_is_spoken_elsewhere_goes_there(file: Path) -> None:
    [served] = load(file, "[[upstreams]]\nname = 'd'\nprovider = 'deepseek'\n").upstreams
    surface = served.upstream.surface("anthropic-messages")
    assert (surface.base_url, surface.auth_header) == ("https://api.deepseek.com/anthropic/v1", "x-api-key")
    assert served.upstream.surface("openai-chat").base_url == "https://api.deepseek.com"


@pytest.mark.parametrize("own", ["base_url = 'http://127.0.0.1:9/v1'", "auth_header = 'api-key'"])
def test_no_other_address_gets_the_key_of_an_upstream_with_its_own(file: Path, own: str) -> None:
    text = f"[[upstreams]]\nname = 'd'\nprovider = 'deepseek'\n{own}\n"
    [served] = load(file, text).upstreams
    assert served.upstream.elsewhere == {}
    assert served.upstream.dialects == {"openai-chat", "openai-responses"}
    [served] = load(file, text + "dialects = ['openai-chat', 'anthropic-messages']").upstreams
    assert served.upstream.dialects == {"openai-chat", "anthropic-messages"}
    assert served.upstream.surface("anthropic-messages") == served.upstream.surface("openai-chat")


def test_a_local_provider_needs_neither_a_key_nor_an_address(file: Path) -> None:
    [served] = load(file, "[[upstreams]]\nname = 'o'\nprovider = 'ollama'\n").upstreams
    assert (served.upstream.base_url, served.upstream.api_key) == ("http://localhost:11434/v1", "")


def test_the_command_lines_host_and_port_come_before_the_files(file: Path) -> None:
    file.write_text("[listen]\nhost = '10.0.0.1'\nport = 1234")
    settings = load_settings(file, {}, host="::1", port=0)
    assert (settings.host, settings.port) == ("::1", 0)


def test_secrets_come_from_the_environment_and_are_not_shown() -> None:
    environ = {
        "OPENAI_API_KEY": "sk-s3cret",
        "DATABASE_URL": "postgresql://s3cret@db/tollgate",
        "TOLLGATE_OPERATOR_KEY": "op-s3cret",
        "TOLLGATE_METRICS_TOKEN": "mt-s3cret",
    }
    settings = load_settings(None, environ)
    assert settings.database_url == environ["DATABASE_URL"]
    assert settings.operator_key == "op-s3cret"
    assert settings.metrics.token == "mt-s3cret"
    assert "s3cret" not in repr(settings) + repr(settings.metrics) + repr(settings.upstreams)


def test_tokens_are_proven_by_a_secret_of_the_environment(file: Path) -> None:
    secret = "s" * 32
    tokens = load(file, f"{_JWT}algorithms = ['HS256']\nskew_s = 0", {"TOLLGATE_JWT_SECRET": secret}).tokens
    assert (tokens.secret, tokens.skew_s) == (secret, 0)
    assert secret not in repr(tokens)
    with pytest.raises(SettingsError, match="32 bytes"):
        load(file, f"{_JWT}algorithms = ['HS256']", {"TOLLGATE_JWT_SECRET": secret[1:]})


def test_keys_of_an_issuer_are_at_an_address_or_in_a_file_beside(file: Path, tmp_path: Path) -> None:
    (tmp_path / "keys.json").write_text("{}")
    for jwks, means in (
        ("keys.json", str(tmp_path / "keys.json")),
        ("https://login.example/k", "https://login.example/k"),
        ("http://127.0.0.1:1/k", "http://127.0.0.1:1/k"),
    ):
        tokens = load(file, f"{_JWT}algorithms = ['ES256', 'RS256']\njwks = '{jwks}'", {}).tokens
        assert (tokens.jwks, tokens.secret) == (means, "")
