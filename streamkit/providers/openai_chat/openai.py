"""Chat completions of OpenAI and of servers that speak the same format.

Source: the API reference of chat completions (streaming), read 2026-11-20.
"""

from __future__ import annotations

import attrs

from streamkit.providers.openai_chat.provider import ChatCompletions, variable_of
from streamkit.providers.openai_chat.quirks import NO_TOP_K, Quirks
from streamkit.providers.request.addresses import address_of, is_openai
from streamkit.providers.request.call_ids import CHAT_IDS
from streamkit.providers.request.credentials import hidden
from streamkit.providers.request.structured_output import OLDER_GPT
from streamkit.providers.request.tool_limits import OPENAI

__all__ = ["OpenAI"]

_OFFICIAL = "https://api.openai.com/v1"


class OpenAI(ChatCompletions):
    """Chat completions of OpenAI, or of any server that speaks the same format.

    ``OpenAICompatible`` knows many such services by name, with their deviations.

    Args:
        api_key: by default what the environment has under the provider's name: ``OPENAI_API_KEY``, or
            ``MY_SERVER_API_KEY`` for ``name="my-server"``. A server of one's own needs none.
        base_url: up to and including ``/v1``; by default ``OPENAI_BASE_URL``, or ``MY_SERVER_BASE_URL`` for
            ``name="my-server"``, or OpenAI itself.
        organization: sent as ``OpenAI-Organization``.
        project: sent as ``OpenAI-Project``.
        include_usage: ask for the usage at the end of a stream; turn it off for a server that refuses
            ``stream_options``.
        max_tokens_field: how ``max_tokens`` is called on the wire; by default ``max_completion_tokens`` for
            OpenAI itself, whose newer models refuse the old name, and ``max_tokens`` elsewhere.
        name: the first segment of the model names that go to it.

    Raises:
        ConfigError: the key or the URL cannot be one.
    """

    def __init__(
        self,
        api_key: str | None = None,
        base_url: str | None = None,
        *,
        organization: str | None = None,
        project: str | None = None,
        include_usage: bool = True,
        max_tokens_field: str | None = None,
        name: str = "openai",
    ) -> None:
        key, address = hidden(api_key), hidden(base_url)
        del api_key, base_url  # or they would stand in the clear among the locals of a traceback
        url = address_of(address, variable_of(name, "BASE_URL"), _OFFICIAL)
        official = is_openai(url)
        field = max_tokens_field or ("max_completion_tokens" if official else "max_tokens")
        quirks = Quirks(include_usage=include_usage, max_tokens_field=field, max_tokens_only=bool(max_tokens_field))
        if official:
            quirks = attrs.evolve(
                quirks,
                file_url=None,
                text_results=True,
                tool_limits=OPENAI,
                call_ids=CHAT_IDS,
                output_by_model=((OLDER_GPT, "tool"),),
                refused=NO_TOP_K,
            )
        super().__init__(
            name,
            url,
            key,
            key_variables=[variable_of(name, "API_KEY")],
            key_needed=official,
            quirks=quirks,
            headers={"OpenAI-Organization": organization, "OpenAI-Project": project},
        )
