"""Amazon Bedrock's converse-stream, signed by botocore or with an API key.

Source: https://docs.aws.amazon.com/bedrock/latest/APIReference/API_runtime_ConverseStream.html, read 2026-11-21.
"""

from __future__ import annotations

import os
import re
from collections.abc import Sequence
from urllib.parse import quote

from streamkit.errors import APIError, ConfigError
from streamkit.providers.bedrock.decoder import BedrockDecoder
from streamkit.providers.bedrock.request import body_of
from streamkit.providers.bedrock.signing import Signing, botocore_of
from streamkit.providers.call import ChatRequest
from streamkit.providers.contract import Decoder
from streamkit.providers.reply.refusal import refusal
from streamkit.providers.request import structured_output
from streamkit.providers.request.addresses import base_url_of
from streamkit.providers.request.credentials import hidden, key_of, made_with, name_of, not_set_up, repr_of, secret_of
from streamkit.providers.request.model_lists import page_request
from streamkit.providers.request.post import post
from streamkit.providers.request.structured_output import OLDER_CLAUDE, OutputWay, OutputWords, is_open, way_of
from streamkit.wire.http import HttpRequest, ResponseInfo
from streamkit.wire.loose_json import as_dict
from streamkit.wire.secrets import Masked

__all__ = ["Bedrock"]

# The last label but AWS's own is the region, at endpoints of a private network (VPC) too.
_HOST = re.compile(
    r"https?://(?:[\w-]+\.)?bedrock-runtime(?:-fips)?\.([\w-]+)\.(?:vpce\.)?(?:amazonaws\.com|api\.aws)\b"
)
# How a model is told a JSON schema; newer models than these have structured outputs. Of these, Claude and Nova can be
# forced to call a tool. Source: https://docs.aws.amazon.com/bedrock/latest/userguide/structured-output.html, and
# AnyToolChoice in the API reference, read 2026-11-27.
_BY_MODEL: Sequence[tuple[re.Pattern[str], OutputWay]] = (
    (OLDER_CLAUDE, "tool"),
    (re.compile(r"\bamazon\.nova"), "tool"),
    (re.compile(r"\b(amazon\.titan|ai21|cohere|meta)\."), "prompt"),
    (re.compile(r"\bmistral\.(mistral-7b|mixtral|mistral-(small|large)-24)"), "prompt"),
)
_THINKING = ("reasoning_config", "thinking")  # which goes with no forced call


class Bedrock:
    """Bedrock's converse-stream.

    Requests are signed with AWS credentials: those passed, or else whatever botocore finds in the environment,
    the files of AWS's tools, or the machine's role, where finding them may take it to the network. A Bedrock
    API key does without.

    Args:
        api_key: a Bedrock API key, by default ``AWS_BEARER_TOKEN_BEDROCK``; without one requests are signed.
        base_url: by default that of the region.
        region: by default that of ``base_url``, where it is one of AWS's, ``AWS_REGION`` or ``AWS_DEFAULT_REGION``.
        access_key, secret_key, session_token: AWS credentials.
        profile: of AWS's configuration files.
        name: the first segment of the model names that go to it.

    Raises:
        ConfigError: botocore is missing, a key or a credential cannot be one, or no region is known where an
            address or a signature needs one.
    """

    result_media = frozenset({"image", "file"})
    models_query = "byOutputModality=TEXT"
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
        key, address = hidden(api_key), hidden(base_url)
        access, secret, token = map(hidden, (access_key, secret_key, session_token))
        del api_key, base_url, access_key, secret_key, session_token  # or they would stand in the clear in a traceback
        self.name = name_of(name)
        self._key = key_of(key, self.key_variable)
        self.region = _region_of(region, address)
        if self.region is None and (not address or self._key is None):
            refused = not_set_up if not address and self._key is None else ConfigError
            passing = made_with(type(self), name, "region")
            raise refused(f"{name} needs a region: set the environment variable AWS_REGION, or {passing}")
        self.base_url = base_url_of(address or f"https://bedrock-runtime.{self.region}.amazonaws.com")
        access = secret_of(access, "access_key")
        secret = secret_of(secret, "secret_key")
        token = secret_of(token, "session_token")
        if bool(access) != bool(secret) or (token and not access):
            raise ConfigError("access_key and secret_key go together, with a session_token or without; pass both")
        self._signing = Signing(name, self.region or "", access, secret, token, profile)
        try:
            botocore_of(name)
        except ConfigError as error:
            raise (not_set_up(error.message) if self._key is None else error) from None

    def request(self, chat: ChatRequest) -> HttpRequest:
        """Return the request for a streamed reply, signed for the next five minutes."""
        url = f"{self.base_url}/model/{quote(chat.model, safe='')}/converse-stream"
        asked = structured_output.asked(self.name, chat, self.structured_output(chat), OutputWords())
        headers = {"Accept": "application/vnd.amazon.eventstream, application/json", **self.headers()}
        return self.sign(post(url, body_of(self.name, asked), chat, headers=headers, key=self._key))

    def headers(self) -> dict[str, str | None]:
        """Return the headers that identify the caller; none where requests are signed."""
        return {} if self._key is None else {"Authorization": Masked(f"Bearer {self._key}")}

    def sign(self, request: HttpRequest) -> HttpRequest:
        """Return the request with a signature, or as it is where a key does without.

        Raises:
            ConfigError: there are no credentials.
        """
        return request if self._key is not None else self._signing.sign(request)

    @property
    def models_url(self) -> str:
        """Where the list of models is; AWS has it on a host of its own."""
        return re.sub(r"://bedrock-runtime(-fips)?\.", r"://bedrock\1.", f"{self.base_url}/foundation-models", count=1)

    def models_request(self, page: str | None) -> HttpRequest:
        """Return the request for one page of the list of models, signed; see ``ListsModels``."""
        return self.sign(page_request(self.models_url, self.models_query, page, self.headers()))

    def structured_output(self, chat: ChatRequest) -> OutputWay:
        """Return how a JSON schema for the reply is said to a model; see ``OutputWay``."""
        way = way_of(chat.model, _BY_MODEL, "tool" if "claude" in chat.model and is_open(chat) else "schema")
        fields = as_dict(chat.params.get("additional_model_request_fields"))
        thinking = any(as_dict(fields.get(name)).get("type") == "enabled" for name in _THINKING)
        return "prompt" if way == "tool" and thinking else way

    def decoder(self, chat: ChatRequest) -> Decoder:
        """Return a decoder for one stream, the answer to ``chat``."""
        return structured_output.answered(chat, BedrockDecoder(self.name), self.structured_output(chat))

    def error(self, info: ResponseInfo, body: bytes) -> APIError:
        """Return the error that a response with a status other than 2xx stands for."""
        error = refusal(self.name, info, body, self.key_variable)
        kind = info.headers.get("x-amzn-errortype", "").partition(":")[0]
        error.type = error.type or kind or None
        error.request_id = info.headers.get("x-amzn-requestid") or error.request_id
        return error

    def __repr__(self) -> str:
        return repr_of(self)


def _region_of(region: str | None, base_url: Masked | None) -> str | None:
    """Return the region that was passed, or that of the address, or the environment's."""
    host = _HOST.match(base_url or "")
    told = (region, host and host[1], os.environ.get("AWS_REGION"), os.environ.get("AWS_DEFAULT_REGION"))
    return next((each.strip() for each in told if each and each.strip()), None)
