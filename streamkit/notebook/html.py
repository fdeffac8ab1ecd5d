"""HTML of replies, runs, conversations and usage for notebooks. No text of a model or a user is HTML in it."""

from __future__ import annotations

import html
from collections.abc import Sequence
from typing import Any

import attrs

from streamkit.values.completion import Completion
from streamkit.values.messages import Message, ToolCall

__all__ = ["Call", "Section", "footer", "html_of", "markdown_html", "reply_html", "sections_of"]

_SMALL = 'style="opacity: 0.7; font-size: 85%"'
_LONGEST = 20_000  # characters of arguments or of a result that are shown
_parser: Any = None


@attrs.define
class Call:
    """A call of a tool, as it is shown."""

    name: str = ""
    arguments: str = ""
    result: str | None = None
    error: str | None = None


@attrs.define
class Section:
    """One reply, as it is shown; a run has several."""

    text: str = ""
    reasoning: str = ""
    calls: list[Call] = attrs.field(factory=list)


def markdown_html(text: str) -> str:
    """Return Markdown as HTML.

    HTML in the text stays text. Images are links, as loading one would tell its server; links have no scripts.
    """
    global _parser
    if _parser is None:
        try:
            from markdown_it import MarkdownIt
        except ImportError:
            return f'<div style="white-space: pre-wrap">{html.escape(text)}</div>'
        parser = MarkdownIt("commonmark", {"html": False, "linkify": False})
        _parser = parser.enable(["strikethrough", "table"]).disable("image")
    rendered: str = _parser.render(text)
    return rendered


def reply_html(sections: Sequence[Section], end: str = "", failure: str = "") -> str:
    """Return replies as HTML.

    Args:
        sections: the replies in order.
        end: the last line, about the figures; text.
        failure: why it broke off; text.
    """
    parts: list[str] = []
    for section in sections:
        if section.reasoning:
            parts.append(_folded("Reasoning", markdown_html(section.reasoning)))
        if section.text:
            parts.append(f"<div>{markdown_html(section.text)}</div>")
        parts += map(_call_html, section.calls)
    if failure:
        parts.append(f'<div style="color: #b00020">{html.escape(failure)}</div>')
    if end:
        parts.append(f"<div {_SMALL}>{html.escape(end)}</div>")
    return "\n".join(parts)


def _call_html(call: Call) -> str:
    state = "" if call.result is None and call.error is None else f" → {call.error or 'done'}"
    inside = f"<pre>{html.escape(call.arguments[:_LONGEST])}</pre>"
    if call.result:
        inside += f"<pre>{html.escape(call.result[:_LONGEST])}</pre>"
    return _folded(f"Tool: {call.name or '…'}{state}", inside)


def _folded(summary: str, inside: str) -> str:
    """Return a part that is folded.

    Args:
        summary: what is shown; text.
        inside: what is folded; HTML.
    """
    return f"<details><summary {_SMALL}>{html.escape(summary)}</summary>\n{inside}\n</details>"


def footer(completion: Completion, *words: str) -> str:
    """Return the line about a reply: who answered, its tokens, its cost, and other words."""
    usage, cost = completion.usage, completion.cost
    found = ["/".join(name for name in (completion.provider, completion.model) if name), *words]
    if usage.input_tokens is not None or usage.output_tokens is not None:
        counts = ("?" if count is None else f"{count:,}" for count in (usage.input_tokens, usage.output_tokens))
        found.append(" + ".join(counts) + " tokens")
    if cost is not None:
        found.append(f"${cost:.4f}" if cost >= 0.01 else f"${cost:.6f}")
    if completion.finish_reason not in (None, "stop", "tool_calls"):
        found.append(f"ended: {completion.finish_reason}")
    return " · ".join(word for word in found if word)


def sections_of(completion: Completion) -> Section:
    """Return a reply as it is shown."""
    results = {result.call_id: result for result in completion.tool_results}
    calls = []
    for call in completion.tool_calls:
        result = results.get(call.id)
        calls.append(_shown(call, None if result is None else result.content, None if result is None else result.error))
    return Section(completion.text or completion.refusal, completion.reasoning, calls)


def _shown(call: ToolCall, result: str | None, error: str | None) -> Call:
    return Call(call.name, call.raw_arguments, result, error)


def html_of(value: Any) -> str:
    """Return a completion, a run, a conversation or a tracker as HTML."""
    if isinstance(value, Completion):
        return reply_html([sections_of(value)], footer(value))
    if hasattr(value, "turns"):
        return _conversation_html(value)
    if hasattr(value, "rounds"):
        rounds = [sections_of(completion) for completion in value.rounds]
        if rounds:
            rounds[-1] = sections_of(value.completion)
            _answer_calls(rounds, value.messages)
        return reply_html(rounds, footer(value.completion, value.status))
    return _usage_html(value)


def _answer_calls(rounds: Sequence[Section], messages: Sequence[Message]) -> None:
    """Add the results of a run's earlier calls, which are in its messages in the order of the calls."""
    told = [message for message in messages if message.role == "tool"]
    calls = [call for section in rounds for call in section.calls]
    for call, message in zip(calls, told, strict=False):
        if call.result is None and isinstance(message.content, str):
            call.result = message.content


def _conversation_html(conversation: Any) -> str:
    parts = []
    if conversation.system:
        parts.append(_folded("system", f"<pre>{html.escape(conversation.system[:_LONGEST])}</pre>"))
    for message in conversation.messages:
        content = message.content if isinstance(message.content, str) else _parts_text(message.content)
        body = markdown_html(content) if content else ""
        if message.role in ("system", "tool"):
            parts.append(_folded(message.role, f"<pre>{html.escape(content[:_LONGEST])}</pre>"))
        else:
            parts.append(f"<div><b>{html.escape(message.role)}</b>{body}</div>")
        parts += [_call_html(_shown(call, None, None)) for call in message.tool_calls]
    usage = conversation.usage
    line = f"{len(conversation.turns)} turns · {usage.total_tokens or 0:,} tokens · ${conversation.cost:.4f}"
    return "\n".join([*parts, f"<div {_SMALL}>{html.escape(line)}</div>"])


def _parts_text(content: Any) -> str:
    texts = [getattr(part, "text", None) or f"[{type(part).__name__}]" for part in content or ()]
    return "\n\n".join(map(str, texts))


def _usage_html(tracker: Any) -> str:
    rows = [(f"{provider}/{model}", totals) for (provider, model), totals in sorted(tracker.by_model().items())]
    head = "".join(f"<th>{name}</th>" for name in ("model", "streams", "input", "output", "cost"))
    lines = [_row(name, totals) for name, totals in [*rows, ("in all", tracker.totals())]]
    return f"<table><thead><tr>{head}</tr></thead><tbody>\n" + "\n".join(lines) + "\n</tbody></table>"


def _row(name: str, totals: Any) -> str:
    cells = [f"{totals.streams:,}", f"{totals.input_tokens:,}", f"{totals.output_tokens:,}", f"${totals.cost:.4f}"]
    return f"<tr><td>{html.escape(name)}</td>" + "".join(f"<td>{cell}</td>" for cell in cells) + "</tr>"
