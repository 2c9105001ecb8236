"""What a file says of upstreams that are called through the translator."""

from pathlib import Path

import pytest

from gateway.settings import SettingsError, load_settings

AWS = """
[[upstreams]]
name = "aws"
provider = "bedrock"
via = "translator"
params = { aws_region_name = "eu-central-1" }
params_env = { aws_secret_access_key = "AWS_SECRET" }
"""


def test_credentials_are_the_translators_alone(tmp_path: Path) -> None:
    file = tmp_path / "tollgate.toml"
    file.write_text(AWS + 'hosts = ["proxy.example:8443"]\n[translator]\nprocesses = 3\n')
    settings = load_settings(file, {"AWS_SECRET": "secret-of-aws"})

    (served,), (translated,) = settings.upstreams, settings.translated
    assert served.upstream.via == "translator"
    assert served.upstream.base_url == "http://translator/aws"
    assert served.upstream.api_key == ""
    assert served.upstream.on_disconnect == "drain"
    assert served.upstream.dialects == {"openai-chat", "openai-embeddings"}
    assert translated.params == {"aws_region_name": "eu-central-1", "aws_secret_access_key": "secret-of-aws"}
    assert set(translated.hosts) == {
        ("bedrock-runtime.eu-central-1.amazonaws.com", 443),
        ("sts.eu-central-1.amazonaws.com", 443),
        ("proxy.example", 8443),
    }
    assert translated.secrets() == ["secret-of-aws"]
    assert "secret-of-aws" not in repr(settings) + repr(translated)
    assert settings.translator.processes == 3


@pytest.mark.parametrize(
    ("more", "message"),
    [
        ("headers = { a = 'b' }", "upstreams[0].headers: does not go with"),
        ("dialects = ['rerank']", "upstreams[0].dialects: can be of openai-chat, openai-embeddings"),
        ("hosts = ['https://a']", "hosts: https://a is no host"),
        ("base_url = 'ftp://a'", "base_url must be an http or https address"),
        ("[translator]\nprocesses = 0", "translator.processes: Expected `int` >= 1"),
        ("[translator]\nstart_s = 0", "translator"),
    ],
)
def test_what_does_not_fit_is_refused_by_name(tmp_path: Path, more: str, message: str) -> None:
    file = tmp_path / "tollgate.toml"
    file.write_text(AWS + more)
    with pytest.raises(SettingsError) as refused:
        load_settings(file, {"AWS_SECRET": "secret-of-aws"})
    assert message in str(refused.value)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (AWS, "upstreams[0].params_env.aws_secret_access_key: AWS_SECRET is not set"),
        (AWS.replace("aws_region_name", "mock_response"), "params.mock_response is none that is passed on"),
        (AWS.replace('via = "translator"', ""), "upstreams[0].params: is for upstreams with via"),
        (AWS.replace("bedrock", "databricks"), "needs a base_url or hosts"),
    ],
)
def test_what_is_missing_or_strange_is_named(tmp_path: Path, text: str, message: str) -> None:
    file = tmp_path / "tollgate.toml"
    file.write_text(text if "AWS_SECRET is" in message else text.replace("params_env = { aws_secret", "# "))
    with pytest.raises(SettingsError) as refused:
        load_settings(file, {"X": "x"})
    assert message in str(refused.value)
