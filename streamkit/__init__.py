"""streamkit: stream replies of language models through bounded channels, in plain synchronous code.

::

    import streamkit

    for chunk in streamkit.stream("demo/storyteller", "Tell me a story"):
        print(chunk.text, end="", flush=True)
"""

from typing import TYPE_CHECKING

from streamkit import providers
from streamkit.client import Client, complete, extract, stream
from streamkit.concurrency.late_import import late_import as _late_import
from streamkit.concurrency.stop import StopEvent
from streamkit.errors import (
    APIError,
    AuthenticationError,
    BadRequestError,
    BatchLimitError,
    BrokenStreamError,
    ChannelClosed,
    CircuitOpenError,
    ConfigError,
    ConflictError,
    ConnectError,
    InvalidOutputError,
    LocalLimitError,
    LogConflictError,
    LogError,
    MisuseError,
    NotFoundError,
    OverloadedError,
    PackError,
    PaymentRequiredError,
    PermissionDeniedError,
    ProtocolError,
    RateLimitError,
    RecvTimeout,
    RunLimitError,
    ServerError,
    StoreConflictError,
    StoreError,
    StreamCancelledError,
    StreamError,
    StreamkitError,
    StreamTimeout,
    ToolError,
    TruncatedStreamError,
    ValidationError,
    WriterLostError,
)
from streamkit.models.prices import cost_of as _cost_of
from streamkit.observing.observers import Observer, Report, RunReport, Stats
from streamkit.settings import Retry, Timeout
from streamkit.streaming.chunk_stream import ChunkStream
from streamkit.streaming.fanin import first, merge
from streamkit.streaming.stream import Stream
from streamkit.values.chunks import Chunk, ToolCallDelta, ToolResult, Usage
from streamkit.values.completion import Choice, Completion, fold
from streamkit.values.completion import price_by as _price_by
from streamkit.values.growing_text import import_by as _import_by
from streamkit.values.messages import FilePart, ImagePart, Message, TextPart, ToolCall, assistant, system, user
from streamkit.values.plain import refuse_with as _refuse_with
from streamkit.values.showing import import_rooms_by as _import_rooms_by
from streamkit.values.text import estimate_tokens
from streamkit.values.typed_dicts import MessageDict, RequestParameters
from streamkit.version import __version__

# Calls, because the package ``values`` imports no other package of streamkit.
_import_by(_late_import)
_import_rooms_by(_late_import)
_price_by(_cost_of)
_refuse_with(ConfigError)

if TYPE_CHECKING:
    from streamkit.batch.batch import Batch
    from streamkit.batch.values import BatchResult, BatchTotals
    from streamkit.conversation.conversation import Conversation
    from streamkit.conversation.stores.sql_store import SQLStore
    from streamkit.conversation.stores.store import MemoryStore, Store
    from streamkit.conversation.turn_stream import TurnStream
    from streamkit.conversation.window import Window
    from streamkit.logs.following import FollowedStream, follow
    from streamkit.logs.log import Log
    from streamkit.logs.memory_log import MemoryLog
    from streamkit.logs.publishing import publish
    from streamkit.logs.redis_log import RedisLog
    from streamkit.models.catalog import ModelList
    from streamkit.observing.observers import ToolReport
    from streamkit.observing.stream_log import LogStreams
    from streamkit.observing.telemetry import Telemetry
    from streamkit.observing.usage import UsageTotals, UsageTracker
    from streamkit.packs.loading import load_pack, validate_pack
    from streamkit.packs.opening import PackConversation, open_pack
    from streamkit.policies.breaker import Breaker
    from streamkit.policies.cache import MemoryCache
    from streamkit.policies.middleware import Middleware
    from streamkit.policies.rate_limit import RateLimit
    from streamkit.policies.recovery import Recovery
    from streamkit.policies.route import Route
    from streamkit.policies.sql_cache import SQLCache
    from streamkit.providers.reply.model_lists import ModelInfo
    from streamkit.tools.claims import Claims, FileClaims, MemoryClaims
    from streamkit.tools.context import ToolContext
    from streamkit.tools.decisions import Answered, Approved, Rejected
    from streamkit.tools.limits import RunLimits
    from streamkit.tools.run import Run
    from streamkit.tools.suspension import Suspension
    from streamkit.tools.tool import Tool, tool

__all__ = [
    "APIError",
    "Answered",
    "Approved",
    "AuthenticationError",
    "BadRequestError",
    "Batch",
    "BatchLimitError",
    "BatchResult",
    "BatchTotals",
    "Breaker",
    "BrokenStreamError",
    "ChannelClosed",
    "Choice",
    "Chunk",
    "ChunkStream",
    "CircuitOpenError",
    "Claims",
    "Client",
    "Completion",
    "ConfigError",
    "ConflictError",
    "ConnectError",
    "Conversation",
    "FileClaims",
    "FilePart",
    "FollowedStream",
    "ImagePart",
    "InvalidOutputError",
    "LocalLimitError",
    "Log",
    "LogConflictError",
    "LogError",
    "LogStreams",
    "MemoryCache",
    "MemoryClaims",
    "MemoryLog",
    "MemoryStore",
    "Message",
    "MessageDict",
    "Middleware",
    "MisuseError",
    "ModelInfo",
    "ModelList",
    "NotFoundError",
    "Observer",
    "OverloadedError",
    "PackConversation",
    "PackError",
    "PaymentRequiredError",
    "PermissionDeniedError",
    "ProtocolError",
    "RateLimit",
    "RateLimitError",
    "Recovery",
    "RecvTimeout",
    "RedisLog",
    "Rejected",
    "Report",
    "RequestParameters",
    "Retry",
    "Route",
    "Run",
    "RunLimitError",
    "RunLimits",
    "RunReport",
    "SQLCache",
    "SQLStore",
    "ServerError",
    "Stats",
    "StopEvent",
    "Store",
    "StoreConflictError",
    "StoreError",
    "Stream",
    "StreamCancelledError",
    "StreamError",
    "StreamTimeout",
    "StreamkitError",
    "Suspension",
    "Telemetry",
    "TextPart",
    "Timeout",
    "Tool",
    "ToolCall",
    "ToolCallDelta",
    "ToolContext",
    "ToolError",
    "ToolReport",
    "ToolResult",
    "TruncatedStreamError",
    "TurnStream",
    "Usage",
    "UsageTotals",
    "UsageTracker",
    "ValidationError",
    "Window",
    "WriterLostError",
    "__version__",
    "assistant",
    "complete",
    "estimate_tokens",
    "extract",
    "first",
    "fold",
    "follow",
    "load_pack",
    "merge",
    "open_pack",
    "providers",
    "publish",
    "stream",
    "system",
    "tool",
    "user",
    "validate_pack",
]

_COMPLETE = "streamkit.complete() returns a whole reply, streamkit.stream() its chunks"
_SYNCHRONOUS = "streamkit is synchronous; streamkit.stream() and streamkit.complete() work in any thread"
_HINTS = {
    **{name: f"it is streamkit.providers.{name}" for name in providers.__all__},
    "chat": _COMPLETE,
    "completion": _COMPLETE,
    "responses": _COMPLETE,
    "run": "a client runs tools: streamkit.Client().run(model, messages, tools=[...])",
    "resume": "a client goes on with a run: streamkit.Client().resume(suspension, decisions, tools=[...])",
    "acompletion": _SYNCHRONOUS,
    "AsyncClient": _SYNCHRONOUS,
}

# Imported on first access, because most programs do not use them.
_MODULES = {
    "Answered": "tools.decisions",
    "Approved": "tools.decisions",
    "Batch": "batch.batch",
    "BatchResult": "batch.values",
    "BatchTotals": "batch.values",
    "Breaker": "policies.breaker",
    "Claims": "tools.claims",
    "Conversation": "conversation.conversation",
    "FileClaims": "tools.claims",
    "FollowedStream": "logs.following",
    "Log": "logs.log",
    "LogStreams": "observing.stream_log",
    "MemoryCache": "policies.cache",
    "MemoryClaims": "tools.claims",
    "MemoryLog": "logs.memory_log",
    "MemoryStore": "conversation.stores.store",
    "Middleware": "policies.middleware",
    "ModelInfo": "providers.reply.model_lists",
    "ModelList": "models.catalog",
    "PackConversation": "packs.opening",
    "RateLimit": "policies.rate_limit",
    "Recovery": "policies.recovery",
    "RedisLog": "logs.redis_log",
    "Rejected": "tools.decisions",
    "Route": "policies.route",
    "Run": "tools.run",
    "RunLimits": "tools.limits",
    "SQLCache": "policies.sql_cache",
    "SQLStore": "conversation.stores.sql_store",
    "Store": "conversation.stores.store",
    "Suspension": "tools.suspension",
    "Telemetry": "observing.telemetry",
    "Tool": "tools.tool",
    "ToolContext": "tools.context",
    "ToolReport": "observing.observers",
    "TurnStream": "conversation.turn_stream",
    "UsageTotals": "observing.usage",
    "UsageTracker": "observing.usage",
    "Window": "conversation.window",
    "follow": "logs.following",
    "load_pack": "packs.loading",
    "open_pack": "packs.opening",
    "publish": "logs.publishing",
    "tool": "tools.tool",
    "validate_pack": "packs.loading",
}


if not TYPE_CHECKING:  # a type checker would take any name for one of this module's

    def __getattr__(name: str) -> object:
        if name in _MODULES:
            found = globals()[name] = getattr(_late_import(f"{__name__}.{_MODULES[name]}"), name)
            return found
        text = f"module {__name__!r} has no attribute {name!r}"
        if name in _HINTS:
            raise AttributeError(f"{text}: {_HINTS[name]}", name=name)  # which keeps Python from adding a guess
        raise AttributeError(text)


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
