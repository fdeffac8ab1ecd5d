"""Amazon Bedrock's converse-stream, signed by botocore or with an API key.

Source: https://docs.aws.amazon.com/bedrock/latest/APIReference/API_runtime_ConverseStream.html, read 2026-11-21.
"""

from __future__ import annotations

import os
from typing import Any
from urllib.parse import quote

import attrs

from streamkit.errors import APIError, ConfigError
from streamkit.providers.base import ChatRequest, base_url_of, key_of
from streamkit.providers.bedrock_decoder import BedrockDecoder
from streamkit.providers.bedrock_request import body_of
from streamkit.providers.http import post, refusal
from streamkit.wire import HttpRequest, Masked, ResponseInfo

__all__ = ["Bedrock"]

_NEEDS_EXTRA = 'Amazon Bedrock needs botocore: python -m pip install "streamkit[bedrock]"'


class Bedrock:
    """Bedrock's converse-stream.

    Requests are signed with AWS credentials: those passed, or else whatever botocore finds in the environment,
    the files of AWS's tools, or the machine's role, where finding them may take it to the network. A Bedrock
    API key does without.

    Args:
        api_key: a Bedrock API key, by default ``AWS_BEARER_TOKEN_BEDROCK``; without one requests are signed.
        base_url: by default that of the region.
        region: by default ``AWS_REGION`` or ``AWS_DEFAULT_REGION``.
        access_key, secret_key, session_token: AWS credentials.
        profile: of AWS's configuration files.
        name: the first segment of the model names that go to it.

    Raises:
        ConfigError: botocore is missing, or no region is known.
    """

    key_variable = "AWS_BEARER_TOKEN_BEDROCK"

    def __init__(
        self,
        api_key: str | None = None,
        base_url: str | None = None,
        *,
        region: str | None = None,
        access_key: str | None = None,
        secret_key: str | None = None,
        session_token: str | None = None,
        profile: str | None = None,
        name: str = "bedrock",
    ) -> None:
        key = None if api_key is None else Masked(api_key)
        self._explicit = tuple(
            None if value is None else Masked(value) for value in (access_key, secret_key, session_token)
        )
        del api_key, access_key, secret_key, session_token  # or they would stand in the clear in a traceback
        self.name = name
        self.region = region or os.environ.get("AWS_REGION") or os.environ.get("AWS_DEFAULT_REGION")
        if base_url is None and self.region is None:
            raise ConfigError(f"{name} needs a region: set the environment variable AWS_REGION, or pass region=")
        self.base_url = base_url_of(base_url or f"https://bedrock-runtime.{self.region}.amazonaws.com")
        self._key = key_of(key, self.key_variable)
        self._profile = profile
        self._session: Any = None
        _botocore()

    def request(self, chat: ChatRequest) -> HttpRequest:
        """Return the request for a streamed reply, signed for the next five minutes."""
        url = f"{self.base_url}/model/{quote(chat.model, safe='')}/converse-stream"
        headers: dict[str, str | None] = {"Accept": "application/vnd.amazon.eventstream, application/json"}
        if self._key is not None:
            headers["Authorization"] = Masked(f"Bearer {self._key}")
        request = post(url, body_of(self.name, chat), chat, headers=headers, key=self._key)
        return request if self._key is not None else self._signed(request)

    def _signed(self, request: HttpRequest) -> HttpRequest:
        botocore = _botocore()
        credentials = self._credentials()
        sent = botocore.awsrequest.AWSRequest(request.method, request.url, data=request.body)
        sent.headers["Content-Type"] = "application/json"
        signer = botocore.auth.SigV4Auth(credentials, "bedrock", self.region or "us-east-1")
        signer.add_auth(sent)
        signature = {name: Masked(value) for name, value in sent.headers.items()}
        secrets = tuple(Masked(value) for value in (credentials.secret_key, credentials.token) if value)
        return attrs.evolve(request, headers={**request.headers, **signature}, secrets=request.secrets + secrets)

    def _credentials(self) -> Any:
        """Return credentials that do not change while a request is signed."""
        botocore = _botocore()
        access_key, secret_key, token = self._explicit
        if access_key and secret_key:
            return botocore.credentials.Credentials(access_key, secret_key, token)
        if self._session is None:
            self._session = botocore.session.Session(profile=self._profile)
        found = self._session.get_credentials()
        if found is None:
            raise ConfigError(
                f"{self.name} needs AWS credentials: set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or "
                f"{self.key_variable}, or pass access_key= and secret_key="
            )
        return found.get_frozen_credentials()

    def decoder(self, chat: ChatRequest) -> BedrockDecoder:
        """Return a decoder for one stream, the answer to ``chat``."""
        return BedrockDecoder(self.name)

    def error(self, info: ResponseInfo, body: bytes) -> APIError:
        """Return the error that a response with a status other than 2xx stands for."""
        error = refusal(self.name, info, body, self.key_variable)
        kind = info.headers.get("x-amzn-errortype", "").partition(":")[0]
        error.type = error.type or kind or None
        error.request_id = info.headers.get("x-amzn-requestid") or error.request_id
        return error

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {self.name} at {self.base_url}>"


def _botocore() -> Any:
    try:
        import botocore.auth
        import botocore.awsrequest
        import botocore.credentials
        import botocore.session
    except ImportError:
        raise ConfigError(_NEEDS_EXTRA) from None
    return botocore
