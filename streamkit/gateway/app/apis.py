"""The formats that clients speak, each at its path: ``Api``."""

from __future__ import annotations

from collections.abc import Callable

import attrs

from streamkit.gateway.app.passing_format import PassingFormat
from streamkit.values.completion import Completion
from streamkit.web.formats.anthropic import AnthropicFormat
from streamkit.web.formats.base import Format
from streamkit.web.formats.openai import OpenAIFormat
from streamkit.web.formats.requests.any_provider import without_anthropic_fields
from streamkit.web.formats.requests.request import Limits, WebRequest
from streamkit.web.formats.requests.responses_request import native_params
from streamkit.web.formats.responses import ResponsesFormat

__all__ = ["APIS", "Api"]


@attrs.frozen
class Api:
    """A format, and where it is served.

    Attributes:
        path: of the endpoint.
        events: the name of the format of events that pass as they came; see ``providers.passing``.
        id: what an id of a reply begins with.
    """

    path: str
    events: str
    id: str
    _decode: Callable[[bytes, Limits], WebRequest]
    _format: Callable[[WebRequest, str], Format]
    _terminator: bytes = b""

    def decode(self, body: bytes, limits: Limits) -> WebRequest:
        """Read a request.

        Raises:
            RequestError: it cannot be taken.
        """
        return self._decode(body, limits)

    def format(self, request: WebRequest, request_id: str) -> Format:
        """Return the encoder of one reply."""
        usage = request.include_usage or self.events != "openai"  # the other formats always tell it
        return PassingFormat(self._format(request, request_id), usage=usage, terminator=self._terminator)

    def suited(self, request: WebRequest, *, own: bool) -> WebRequest:
        """Return a request as the providers of its model take it.

        Args:
            request: as it was read.
            own: whether all of them speak this format.
        """
        if self.events == "anthropic" and not own:
            plain = without_anthropic_fields(request)
            # Thoughts that were asked for are shown, whichever model has them.
            return attrs.evolve(plain, extra={**plain.extra, "thinking": request.params.get("thinking")})
        if self.events == "openai-responses" and own:
            return attrs.evolve(request, params={**request.params, **native_params(request)})
        return request

    def plain(self, request_id: str) -> Format:
        """Return the encoder of an error."""
        return self._format(WebRequest(), request_id)

    def whole(self, request: WebRequest, completion: Completion, id: str, created: int) -> bytes:
        """Return a reply as one piece of JSON."""
        made = self._format(request, "")
        assert isinstance(made, (OpenAIFormat, AnthropicFormat, ResponsesFormat))
        return made.whole(completion, id, model=request.model, created=created)


def _thinks(request: WebRequest) -> bool:
    """Return whether a request of Anthropic's format asks for thoughts."""
    asked = request.params.get("thinking") or request.extra.get("thinking") or {}
    return bool(asked.get("type", "disabled") != "disabled")


APIS = (
    Api(
        "/v1/chat/completions",
        "openai",
        "chatcmpl-",
        lambda body, limits: OpenAIFormat.decode_request(body, limits=limits),
        lambda request, _id: OpenAIFormat(include_usage=request.include_usage, show_errors=True),
        b"data: [DONE]\n\n",
    ),
    Api(
        "/v1/responses",
        "openai-responses",
        "resp_",
        lambda body, limits: ResponsesFormat.decode_request(body, limits=limits),
        lambda request, _id: ResponsesFormat(request=request, show_errors=True),
    ),
    Api(
        "/v1/messages",
        "anthropic",
        "msg_",
        lambda body, limits: AnthropicFormat.decode_request(body, limits=limits),
        # Without being asked for, thoughts are not shown: many clients take the first block for the answer.
        lambda request, told_id: AnthropicFormat(request_id=told_id, show_errors=True, reasoning=_thinks(request)),
    ),
)
