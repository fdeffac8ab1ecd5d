"""Signatures of requests to Amazon Bedrock, compared with those of AWS's SDK."""

from __future__ import annotations

import hashlib
import hmac
import os
import traceback
from pathlib import Path
from typing import Any
from urllib.parse import quote

import botocore.session
import pytest
from botocore.config import Config

from streamkit import BadRequestError, Client, ConfigError, providers
from streamkit.providers import ChatRequest
from streamkit.testing import Reply, Server, error_reply, json_reply
from streamkit.testing.request import Request
from tests.unit.calls import TOOLS, WEATHER

ACCESS, SECRET, TOKEN = "AKIASIGNINGTEST", "secret-of-the-signer", "secret-token-of-the-session"
MODEL = "us.anthropic.claude-x-v1:0"


@pytest.fixture(autouse=True)
def no_credentials_around(monkeypatch: pytest.MonkeyPatch, tmp_path: Any) -> None:
    """Keep the machine's own credentials out, and botocore off the network."""
    for name in ("PROFILE", "ACCESS_KEY_ID", "SECRET_ACCESS_KEY", "BEARER_TOKEN_BEDROCK", "REGION", "DEFAULT_REGION"):
        monkeypatch.delenv(f"AWS_{name}", raising=False)
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    monkeypatch.setenv("AWS_CONFIG_FILE", str(tmp_path / "config"))
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", str(tmp_path / "credentials"))


def signature_of(request: Request, *, region: str, secret: str) -> str:
    """Sign a request that arrived, as AWS does to check it (Signature Version 4, by its documentation)."""
    sent = {name.lower(): value for name, value in request.headers.items()}
    scope, signed = (
        sent["authorization"].partition(f"{mark}=")[2].split(",")[0] for mark in ("Credential", "SignedHeaders")
    )
    path, _, query = request.path.partition("?")
    canonical = "\n".join(
        [
            request.method,
            quote(path, safe="/"),
            "&".join(sorted(query.split("&"))),
            *(f"{name}:{' '.join(sent[name].split())}" for name in signed.split(";")),
            "",
            signed,
            hashlib.sha256(request.body).hexdigest(),
        ]
    )
    date = sent["x-amz-date"]
    scope = scope.partition("/")[2]
    assert f"{date[:8]}/{region}/bedrock/aws4_request" == scope
    text = "\n".join(["AWS4-HMAC-SHA256", date, scope, hashlib.sha256(canonical.encode()).hexdigest()])
    key = f"AWS4{secret}".encode()
    for part in scope.split("/"):
        key = hmac.new(key, part.encode(), "sha256").digest()
    return hmac.new(key, text.encode(), "sha256").hexdigest()


def ask(provider: providers.Provider, **params: Any) -> None:
    with Client([provider], retry=1) as client, pytest.raises(BadRequestError):
        client.complete(f"bedrock/{MODEL}", TOOLS, tools=[WEATHER], **params)


@pytest.mark.parametrize("token", [None, TOKEN])
def test_a_signature_holds(token: str | None) -> None:
    """The request that arrives has the signature that AWS computes, with the session's token."""
    with Server(error_reply(400)) as server:
        ask(
            providers.Bedrock(
                base_url=server.url, region="eu-west-1", access_key=ACCESS, secret_key=SECRET, session_token=token
            )
        )
        (request,) = server.requests
    authorization = request.headers["Authorization"]
    assert f"Credential={ACCESS}/" in authorization
    assert ("x-amz-security-token" in authorization) == (token is not None)
    assert authorization.endswith(f"Signature={signature_of(request, region='eu-west-1', secret=SECRET)}")


def test_the_list_of_models_is_signed_as_well() -> None:
    """The list is asked for with a signature over its query, or with the key, which needs none."""
    offer = json_reply({"modelSummaries": [{"modelId": "anthropic.claude-x-v1:0"}]})
    with Server(offer, offer) as server:
        signed = providers.Bedrock(base_url=server.url, region="eu-west-1", access_key=ACCESS, secret_key=SECRET)
        keyed = providers.Bedrock("sk-key-of-bedrock", server.url, region="eu-west-1", name="keyed")
        with Client([signed, keyed]) as client:
            assert "bedrock/anthropic.claude-x-v1:0" == client.models.list("bedrock")[0].full_name
            assert "keyed/anthropic.claude-x-v1:0" == client.models.list("keyed")[0].full_name
        first, second = server.requests
    assert ("GET", "/v1/foundation-models?byOutputModality=TEXT") == (first.method, first.path)
    assert first.headers["Authorization"].endswith(signature_of(first, region="eu-west-1", secret=SECRET))
    assert "Bearer sk-key-of-bedrock" == second.headers["Authorization"]


def test_the_list_is_on_a_host_of_its_own() -> None:
    """The runtime's host has no list."""
    provider = providers.Bedrock("k", region="eu-west-1")
    assert "https://bedrock.eu-west-1.amazonaws.com/foundation-models" == provider.models_url


def test_converse_as_the_sdk_sends_it() -> None:
    """Path, body and what is signed are those of AWS's own SDK."""
    with Server(error_reply(400), error_reply(400)) as server:
        ask(
            providers.Bedrock(base_url=server.url, region="eu-west-1", access_key=ACCESS, secret_key=SECRET),
            tool_choice="required",
            max_tokens=100,
            temperature=0.5,
            top_p=0.9,
            stop_sequences=["END"],
        )
        sdk = botocore.session.Session().create_client(
            "bedrock-runtime",
            region_name="eu-west-1",
            endpoint_url=server.url,
            aws_access_key_id="theirs",  # not ours, as the SDK logs what it sends
            aws_secret_access_key="theirs",
            config=Config(retries={"max_attempts": 0}),
        )
        with pytest.raises(Exception, match="400"):
            sdk.converse_stream(**THE_CALL)
        ours, theirs = server.requests
    assert (theirs.method, theirs.path, theirs.json()) == (ours.method, ours.path, ours.json())
    assert theirs.headers["Content-Type"] == ours.headers["Content-Type"]
    signed = [
        request.headers["Authorization"].partition("SignedHeaders=")[2].split(",")[0] for request in (ours, theirs)
    ]
    assert {"content-type", "host", "x-amz-date"} == set(signed[0].split(";"))
    assert {"content-type", "host", "x-amz-date"} <= set(signed[1].split(";"))


FUNCTION = WEATHER["function"]
THE_CALL: dict[str, Any] = {
    "modelId": MODEL,
    "system": [{"text": "Be brief."}],
    "messages": [
        {
            "role": "user",
            "content": [
                {"text": "What is the weather here?"},
                {"image": {"format": "png", "source": {"bytes": b"\x89PNG\r\n\x1a\n"}}},
            ],
        },
        {
            "role": "assistant",
            "content": [
                {"text": "I will look."},
                {"toolUse": {"toolUseId": "call_1", "name": "get_weather", "input": {"city": "Paris"}}},
            ],
        },
        {
            "role": "user",
            "content": [
                {"toolResult": {"toolUseId": "call_1", "content": [{"text": "18 C"}]}},
                {"text": "Thanks"},
            ],
        },
    ],
    "toolConfig": {
        "tools": [
            {
                "toolSpec": {
                    "name": FUNCTION["name"],
                    "description": FUNCTION["description"],
                    "inputSchema": {"json": FUNCTION["parameters"]},
                }
            }
        ],
        "toolChoice": {"any": {}},
    },
    "inferenceConfig": {"maxTokens": 100, "temperature": 0.5, "topP": 0.9, "stopSequences": ["END"]},
}


def test_credentials_of_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    """Without any passed, they are AWS's own, and new ones count at once."""
    with Server(error_reply(400), error_reply(400)) as server:
        for access in (ACCESS, f"{ACCESS}2"):
            monkeypatch.setenv("AWS_ACCESS_KEY_ID", access)
            monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", SECRET)
            ask(providers.Bedrock(base_url=server.url, region="eu-west-1"))
        users = [request.headers["Authorization"].split("Credential=")[1].split("/")[0] for request in server.requests]
    assert [ACCESS, f"{ACCESS}2"] == users


def write_credentials(access: str) -> None:
    Path(os.environ["AWS_SHARED_CREDENTIALS_FILE"]).write_text(
        f"[default]\naws_access_key_id={access}\naws_secret_access_key=theirs\naws_session_token=theirs\n", "utf-8"
    )


def user_of(provider: providers.Provider) -> str:
    signed = provider.request(ChatRequest("m", [{"role": "user", "content": "Hi"}])).headers["Authorization"]
    return signed.split("Credential=")[1].split("/")[0]


def test_credentials_of_a_file() -> None:
    """Credentials that a tool writes anew count at once, for a provider that has signed with the old ones as well."""
    provider = providers.Bedrock(region="eu-west-1")
    with pytest.raises(ConfigError, match="needs AWS credentials"):
        user_of(provider)
    write_credentials(ACCESS)
    assert ACCESS == user_of(provider)
    write_credentials(f"{ACCESS}2")
    assert f"{ACCESS}2" == user_of(provider)


def test_credentials_that_stay_are_found_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """While neither the environment nor a file changes, botocore does not look again."""
    write_credentials(ACCESS)
    provider = providers.Bedrock(region="eu-west-1")
    assert ACCESS == user_of(provider)
    monkeypatch.setattr("botocore.session.Session", None)
    assert ACCESS == user_of(provider)


def test_a_role_that_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    """AWS's refusal of a role is a documented error."""
    write_credentials(ACCESS)
    Path(os.environ["AWS_CONFIG_FILE"]).write_text(
        "[profile r]\nrole_arn=arn:aws:iam::123456789012:role/r\nsource_profile=default\nregion=eu-west-1\n", "utf-8"
    )
    refused = b"<ErrorResponse><Error><Code>AccessDenied</Code><Message>not you</Message></Error></ErrorResponse>"
    with Server(Reply([refused], status=403, content_type="text/xml")) as server:
        monkeypatch.setenv("AWS_ENDPOINT_URL_STS", server.url)
        with pytest.raises(ConfigError, match=r"got no AWS credentials: .*AccessDenied"):
            user_of(providers.Bedrock(region="eu-west-1", profile="r"))


@pytest.mark.parametrize("name", ["access_key", "secret_key", "session_token"])
@pytest.mark.parametrize(
    ("given", "why"), [(SECRET.encode(), "is text, not bytes"), (f"{SECRET}\nmore", "holds a line break")]
)
def test_credentials_that_are_none(name: str, given: Any, why: str) -> None:
    """A credential that is no text, or that no header can carry, is refused without being shown."""
    with pytest.raises(ConfigError, match=f"{name} {why}") as caught:
        providers.Bedrock(region="eu-west-1", **{"access_key": ACCESS, "secret_key": SECRET, name: given})
    shown = traceback.TracebackException.from_exception(caught.value, capture_locals=True).stack
    assert SECRET not in f"{caught.value}{[frame.locals for frame in shown if 'providers' in frame.filename]}"


def test_no_credentials() -> None:
    """Nothing to sign with is an error that says what to set, before anything is sent."""
    with Client([providers.Bedrock(region="eu-west-1")]) as client:
        with pytest.raises(ConfigError, match="AWS_ACCESS_KEY_ID"):
            client.stream("bedrock/m", "Hi")


def test_a_region_of_blanks(monkeypatch: pytest.MonkeyPatch) -> None:
    """A variable with only blanks counts as unset."""
    monkeypatch.setenv("AWS_REGION", "  ")
    with pytest.raises(ConfigError, match="needs a region"):
        providers.Bedrock("k")
    monkeypatch.setenv("AWS_DEFAULT_REGION", "eu-west-1\n")
    assert "https://bedrock-runtime.eu-west-1.amazonaws.com" == providers.Bedrock("k").base_url


def test_a_profile_that_is_not_there() -> None:
    """A profile that AWS's files do not have is an error that names it, before anything is sent."""
    with Client([providers.Bedrock(region="eu-west-1", profile="nope")]) as client:
        with pytest.raises(ConfigError, match="nope"):
            client.stream("bedrock/m", "Hi")


@pytest.mark.parametrize(
    ("host", "region"),
    [
        ("bedrock-runtime.eu-west-1.amazonaws.com", "eu-west-1"),
        ("bedrock-runtime-fips.us-gov-west-1.amazonaws.com", "us-gov-west-1"),
        ("bedrock-runtime.cn-north-1.amazonaws.com.cn", "cn-north-1"),
        ("bedrock-runtime.us-east-2.api.aws", "us-east-2"),
        ("vpce-0a1b-2c3d.bedrock-runtime.ap-southeast-2.vpce.amazonaws.com:443", "ap-southeast-2"),
        ("vpce-0a1b-2c3d-us-west-2a.bedrock-runtime.us-west-2.vpce.amazonaws.com", "us-west-2"),
    ],
)
def test_the_region_of_the_address_counts(host: str, region: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """A request to a host of AWS is signed for the host's region, whatever the environment says."""
    monkeypatch.setenv("AWS_REGION", "sa-east-1")
    provider = providers.Bedrock(base_url=f"https://{host}/", access_key=ACCESS, secret_key=SECRET)
    request = provider.request(ChatRequest("m", [{"role": "user", "content": "Hi"}]))
    assert region == provider.region
    assert f"/{region}/bedrock/aws4_request" in request.headers["Authorization"]


def test_a_region_that_was_passed_counts_most() -> None:
    """A region of one's own stays, and no address needs one where a key does without a signature."""
    host = "https://bedrock-runtime.eu-west-1.amazonaws.com"
    assert "eu-west-2" == providers.Bedrock("k", host, region="eu-west-2").region
    assert providers.Bedrock("k", "http://127.0.0.1:1").region is None


@pytest.mark.parametrize("url", [None, "http://127.0.0.1:1", "https://bedrock.example.com"])
def test_no_region(url: str | None) -> None:
    """Requests that have to be signed need a region, and none is guessed."""
    with pytest.raises(ConfigError, match="needs a region: set the environment variable AWS_REGION"):
        providers.Bedrock(base_url=url, access_key=ACCESS, secret_key=SECRET)


def test_the_list_of_an_address_with_fips() -> None:
    """The host that has the list is of the same kind as the one that was passed."""
    provider = providers.Bedrock("k", "https://bedrock-runtime-fips.us-east-1.amazonaws.com")
    assert "https://bedrock-fips.us-east-1.amazonaws.com/foundation-models" == provider.models_url


@pytest.mark.parametrize(
    "given",
    [
        {"access_key": ACCESS},
        {"secret_key": SECRET},
        {"session_token": "t"},
        {"secret_key": SECRET, "session_token": "t"},
    ],
)
def test_half_of_the_credentials(given: dict[str, str]) -> None:
    """Credentials that are not whole are refused, and not replaced by others without a word."""
    with pytest.raises(ConfigError, match="access_key and secret_key go together"):
        providers.Bedrock(region="eu-west-1", **given)  # type: ignore[arg-type]
