"""Read the transcripts that coding agents keep: a file for each session, an event in each line.

An answer is read by the parser of the protocol in which it came, so that a transcript gives the same messages and the
same usage as the requests themselves.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Iterable, Iterator, Mapping
from contextlib import suppress
from glob import escape, glob
from typing import Any

from llmctl.core import clock
from llmctl.core.chat import Message, Text, Thinking, ToolCall, ToolResult, Usage
from llmctl.core.imported_conversation import (
    ImportedConversation,
    ImportedMessage,
    ImportedUsage,
    SkipCounter,
    SkippedItems,
)
from llmctl.core.stored_values import dumps
from llmctl.core.values import Value
from llmctl.formats.imports import Format
from llmctl.wire.incoming import Operation, parse_request, read_response

Line = Mapping[str, Any]
Items = Iterator[ImportedConversation | SkippedItems]

#: Beginnings of messages that an agent writes in the name of the user.
_CONTEXT_MARKS = ("<environment_context>", "<session_context>", "<user_instructions>", "<permissions instructions>")


class TranscriptPlace(Value):
    """Where an agent keeps its transcripts: patterns below its folder, and a variable that moves the folder."""

    format: str
    patterns: tuple[str, ...]
    variable: str
    #: The folder below the home folder.
    default: str
    #: The variable replaces the home folder, not the folder of the agent.
    replaces_home: bool = False

    def find_folder(self, env: Mapping[str, str]) -> str | None:
        """Return the agent's folder; None where neither the variable nor the home folder is known."""
        moved = env.get(self.variable)
        if moved and not self.replaces_home:
            return moved
        home = moved or env.get("HOME")
        return os.path.join(home, self.default) if home else None


AGENTS = (
    TranscriptPlace("claude-code", ("projects/**/*.jsonl",), "CLAUDE_CONFIG_DIR", ".claude"),
    TranscriptPlace("codex", ("sessions/**/*.jsonl", "archived_sessions/**/*.jsonl"), "CODEX_HOME", ".codex"),
    TranscriptPlace(
        "gemini-cli",
        ("tmp/*/chats/session-*.json", "tmp/*/chats/session-*.jsonl"),
        "GEMINI_CLI_HOME",
        ".gemini",
        replaces_home=True,
    ),
)


def find_transcripts(env: Mapping[str, str]) -> list[str]:
    """Return the paths of the transcripts of this user's agents, the oldest first."""
    found: dict[str, float] = {}
    for agent in AGENTS:
        folder = agent.find_folder(env)
        for pattern in agent.patterns if folder else ():
            for path in glob(os.path.join(escape(folder or ""), pattern), recursive=True, include_hidden=True):
                with suppress(OSError):  # deleted since it was listed
                    status = os.stat(path)
                    if stat.S_ISREG(status.st_mode):
                        found[path] = status.st_mtime
    return sorted(found, key=lambda path: (found[path], path))


# --- Claude Code


def is_claude_line(line: Any) -> bool:
    return isinstance(line, dict) and "sessionId" in line and ("uuid" in line or line.get("type") in _CLAUDE_TYPES)


_CLAUDE_TYPES = ("queue-operation", "summary", "mode", "last-prompt", "file-history-snapshot")


def read_claude_lines(lines: Iterator[Any]) -> Items:
    """Yield the session, and each of its sub-agents as a conversation of its own."""
    skipped = SkipCounter()
    sessions: dict[str, list[Line]] = {}
    name: str | None = None
    for line in lines:
        if not isinstance(line, dict):
            skipped.add_message()
        elif line.get("type") == "summary" and isinstance(line.get("summary"), str):
            name = line["summary"]
        elif line.get("type") in ("user", "assistant") and isinstance(line.get("message"), dict):
            session = str(line.get("sessionId"))
            side = str(line.get("agentId") or "side") if line.get("isSidechain") else ""
            sessions.setdefault(f"{session}/{side}" if side else session, []).append(line)
    for key, found in sessions.items():
        yield _claude_conversation(key, found, name if "/" not in key else None, skipped)
    yield from skipped.items()


def _claude_conversation(key: str, lines: list[Line], name: str | None, skipped: SkipCounter) -> ImportedConversation:
    first = lines[0]
    entries: list[ImportedMessage] = []
    names: dict[str, str] = {}
    for group in _group_answers(lines):
        try:
            entries += _claude_entries(group, names)
        except (TypeError, KeyError, AttributeError, ValueError):
            skipped.add_message()
    model = next((entry.model for entry in reversed(entries) if entry.model), None)
    return ImportedConversation(
        source="claude-code",
        id=key,
        entries=entries,
        name=name,
        model=model,
        provider="anthropic",
        metadata={"app": "claude"},
        app="claude",
        client=f"claude-cli/{first['version']}" if first.get("version") else None,
        folder=first.get("cwd") if isinstance(first.get("cwd"), str) else None,
        session_key=key.partition("/")[0],
    )


def _group_answers(lines: Iterable[Line]) -> Iterator[list[Line]]:
    """Yield the lines of each message: an answer has one for each of its blocks, all with the whole usage."""
    group: list[Line] = []
    for line in lines:
        id = line["message"].get("id")
        if group and (id is None or id != group[-1]["message"].get("id") or _is_again(line, group)):
            yield group
            group = []
        group.append(line)
    if group:
        yield group


def _is_again(line: Line, group: list[Line]) -> bool:
    """Return whether a line is an answer of its own, though a host gave it the id of the one before."""
    return bool(line.get("requestId")) and line.get("requestId") != group[-1].get("requestId")


def _claude_entries(group: list[Line], names: dict[str, str]) -> Iterator[ImportedMessage]:
    line, message = group[0], group[0]["message"]
    at = _parse_time(line.get("timestamp"))
    if line["type"] == "user":
        body = dumps({"messages": [{"role": "user", "content": message["content"]}]}).encode()
        hidden = bool(line.get("isMeta") or line.get("isCompactSummary"))
        for number, found in enumerate(parse_request(Operation("anthropic", "chat"), body).messages):
            id = str(line["uuid"]) if number == 0 else f"{line['uuid']}/{number}"
            yield ImportedMessage(found.role, _name_results(found, names), id, at, hidden=hidden)
        return
    blocks = [block for one in group for block in one["message"].get("content") or ()]
    response = read_response("anthropic", {**group[-1]["message"], "content": blocks})
    names |= {call.id: call.name for call in response.message.tool_calls}
    usage = _to_usage(response.usage, response.response_id)
    model = None if response.model == "<synthetic>" else response.model
    yield ImportedMessage(
        "assistant",
        response.message.parts,
        str(line["uuid"]),
        at,
        model=model,
        provider="anthropic",
        usage=usage if model else None,
        complete=response.finish_reason is not None or message.get("stop_reason") is None,
    )


def _name_results(message: Message, names: Mapping[str, str]) -> tuple[Any, ...]:
    return tuple(
        part.replace(name=names.get(part.call_id, "")) if isinstance(part, ToolResult) else part
        for part in message.parts
    )


# --- Codex


def is_codex_line(line: Any) -> bool:
    return isinstance(line, dict) and isinstance(line.get("payload"), dict) and line.get("type") in _CODEX_TYPES


_CODEX_TYPES = ("session_meta", "response_item", "event_msg", "turn_context", "compacted", "world_state")
_CODEX_ITEMS = ("message", "reasoning", "function_call", "custom_tool_call", "local_shell_call", "web_search_call")


def read_codex_lines(lines: Iterator[Any]) -> Items:
    """Yield the session. The usage of a call to the model follows the items that it gave."""
    session = _CodexSession()
    for line in lines:
        if is_codex_line(line) or (isinstance(line, dict) and isinstance(line.get("payload"), dict)):
            try:
                session.add(line)
            except (TypeError, KeyError, AttributeError, ValueError):
                session.skipped.add_message()
        else:
            session.skipped.add_message()
    if session.id:
        yield session.to_conversation()
    yield from session.skipped.items()


class _CodexSession:
    """What is known of a session so far."""

    def __init__(self) -> None:
        self.id: str | None = None
        self.skipped = SkipCounter()
        self._about: Line = {}
        self._model: str | None = None
        self._entries: list[ImportedMessage] = []
        self._answer: list[tuple[Line, str | None]] = []
        self._names: dict[str, str] = {}
        self._counted: set[str] = set()

    def add(self, line: Line) -> None:
        payload, at = line["payload"], _parse_time(line.get("timestamp"))
        match line.get("type"):
            case "session_meta" if self.id is None:
                self.id, self._about = str(payload.get("id") or payload.get("session_id")), payload
            case "turn_context":
                model = payload.get("model")
                self._model = model if isinstance(model, str) and model else self._model
            case "response_item":
                self._add_item(payload, at)
            case "token_usage_record":
                self._add_usage(payload.get("usage"), payload.get("response_id"))
            case "event_msg" if payload.get("type") == "token_count" and isinstance(payload.get("info"), dict):
                self._add_usage(payload["info"].get("last_token_usage"), None)

    def _add_item(self, item: Line, at: str | None) -> None:
        kind, role = item.get("type"), item.get("role")
        if role == "assistant" or (kind in _CODEX_ITEMS and kind != "message"):
            self._answer.append((item, at))
            return
        if kind != "message" and not str(kind).endswith("_output"):
            return
        self._end_answer(None)
        body = dumps({"model": "", "input": [item]}).encode()
        try:
            found = parse_request(Operation("openai-responses", "chat"), body).messages
        except ValueError:
            self.skipped.add_message()
            return
        for message in found:
            hidden = message.role == "system" or message.text.lstrip().startswith(_CONTEXT_MARKS)
            id = str(item.get("id") or f"{self.id}#{len(self._entries)}")
            parts = _name_results(message, self._names)
            role = "user" if message.role == "system" else message.role
            self._entries.append(ImportedMessage(role, parts, id, at, hidden=hidden))

    def _add_usage(self, counts: Any, response_id: Any) -> None:
        """Add the usage of the answer that was read last; newer versions tell it twice."""
        if not isinstance(counts, dict) or not self._answer:
            return
        usage = Usage(
            input_tokens=_to_count(counts.get("input_tokens")),
            output_tokens=_to_count(counts.get("output_tokens")),
            cached_tokens=_to_count(counts.get("cached_input_tokens")),
            cache_write_tokens=_to_count(counts.get("cache_write_input_tokens")),
            thinking_tokens=_to_count(counts.get("reasoning_output_tokens")),
        )
        self._end_answer(_to_usage(usage, response_id if isinstance(response_id, str) else None))

    def _end_answer(self, usage: ImportedUsage | None) -> None:
        if not self._answer:
            return
        items, (first, at) = [item for item, _ in self._answer], self._answer[0]
        self._answer = []
        response = read_response(
            "openai-responses", {"status": "completed", "output": [_as_output(one) for one in items]}
        )
        self._names |= {call.id: call.name for call in response.message.tool_calls}
        id = str(first.get("id") or f"{self.id}#{len(self._entries)}")
        if id in self._counted:
            id = f"{id}#{len(self._entries)}"
        self._counted.add(id)
        self._entries.append(ImportedMessage("assistant", response.message.parts, id, at, self._model, "openai", usage))

    def to_conversation(self) -> ImportedConversation:
        try:
            self._end_answer(None)
        except (TypeError, KeyError, AttributeError, ValueError):
            self.skipped.add_message()
        about = self._about
        version = about.get("cli_version")
        return ImportedConversation(
            source="codex",
            id=str(self.id),
            entries=self._entries,
            created_at=_parse_time(about.get("timestamp")),
            model=self._model,
            provider="openai",
            metadata={"app": "codex"},
            app="codex",
            client=f"{about.get('originator') or 'codex'}/{version}" if version else None,
            folder=about.get("cwd") if isinstance(about.get("cwd"), str) else None,
            session_key=str(self.id),
        )


def _as_output(item: Line) -> Line:
    if item.get("type") == "custom_tool_call":
        return {**item, "type": "function_call", "arguments": dumps({"input": item.get("input")})}
    if item.get("type") == "local_shell_call":
        call = {"name": "local_shell_call", "arguments": dumps(item.get("action") or {})}
        return {**item, "type": "function_call", **call}
    return item


# --- Gemini CLI


def is_gemini_document(document: Any) -> bool:
    return isinstance(document, dict) and "sessionId" in document and "projectHash" in document


def read_gemini_lines(lines: Iterator[Any]) -> Items:
    """Yield the session: a document, or a header with a line for each message or change of the document."""
    session: dict[str, Any] = {}
    messages: dict[str, Line] = {}
    skipped = SkipCounter()
    for line in lines:
        if not isinstance(line, dict):
            skipped.add_message()
            continue
        if is_gemini_document(line):
            session |= line
        changes = line.get("$set", line)
        if isinstance(changes, dict) and "messages" in changes:
            messages = {}
        listed = changes.get("messages") if isinstance(changes, dict) else None
        for message in listed if isinstance(listed, list) else [line] * ("id" in line and "type" in line):
            messages[str(message.get("id"))] = message
    if session:
        yield _gemini_conversation(session, messages.values(), skipped)
    yield from skipped.items()


def _gemini_conversation(session: Line, messages: Iterable[Line], skipped: SkipCounter) -> ImportedConversation:
    entries: list[ImportedMessage] = []
    for message in messages:
        try:
            entries += _gemini_entries(message)
        except (TypeError, KeyError, AttributeError, ValueError):
            skipped.add_message()
    model = next((entry.model for entry in reversed(entries) if entry.model), None)
    id = str(session["sessionId"])
    return ImportedConversation(
        source="gemini-cli",
        id=id,
        entries=entries,
        name=session.get("summary") if isinstance(session.get("summary"), str) else None,
        created_at=_parse_time(session.get("startTime")),
        updated_at=_parse_time(session.get("lastUpdated")),
        model=model,
        provider="gemini",
        metadata={"app": "gemini"},
        app="gemini",
        session_key=id,
    )


def _gemini_entries(message: Line) -> Iterator[ImportedMessage]:
    id, at = str(message["id"]), _parse_time(message.get("timestamp"))
    text = _gemini_text(message.get("content"))
    if message["type"] == "user":
        hidden = text.lstrip().startswith(_CONTEXT_MARKS)
        yield ImportedMessage("user", (Text(text),) if text else (), id, at, hidden=hidden)
    elif message["type"] == "gemini":
        thoughts = [f"{one.get('subject')}\n{one.get('description')}" for one in message.get("thoughts") or ()]
        calls = message.get("toolCalls") or ()
        parts = (
            *(Thinking(thought) for thought in thoughts),
            *((Text(text),) if text else ()),
            *(ToolCall(str(call["id"]), str(call["name"]), dumps(call.get("args") or {})) for call in calls),
        )
        usage = _gemini_usage(message.get("tokens"))
        model = message.get("model")
        yield ImportedMessage("assistant", parts, id, at, model if isinstance(model, str) else None, "gemini", usage)
        for number, call in enumerate(calls):
            result = ToolResult(str(call["id"]), str(call["name"]), _gemini_result(call), call.get("status") == "error")
            yield ImportedMessage("tool", (result,), f"{id}/{number}", at)


def _gemini_text(content: Any) -> str:
    if isinstance(content, str):
        return content
    return "\n".join(str(part["text"]) for part in content or () if isinstance(part, dict) and part.get("text"))


def _gemini_result(call: Line) -> str:
    if isinstance(call.get("resultDisplay"), str):
        return str(call["resultDisplay"])
    return dumps(call.get("result")) if call.get("result") is not None else ""


def _gemini_usage(tokens: Any) -> ImportedUsage | None:
    if not isinstance(tokens, dict):
        return None
    thinking = _to_count(tokens.get("thoughts"))
    output = _to_count(tokens.get("output")) + thinking
    return ImportedUsage(_to_count(tokens.get("input")), output, _to_count(tokens.get("cached")), thinking or None)


# --- all of them


def _to_usage(usage: Usage | None, response_id: str | None) -> ImportedUsage | None:
    if usage is None:
        return None
    return ImportedUsage(
        input_tokens=usage.input_tokens,
        output_tokens=usage.output_tokens,
        cached_tokens=usage.cached_tokens,
        cache_write_tokens=usage.cache_write_tokens,
        thinking_tokens=usage.thinking_tokens or None,
        details=usage.details,
        response_id=response_id,
    )


def _to_count(value: Any) -> int:
    """Return a number of tokens; 0 for anything else."""
    return value if isinstance(value, int) and not isinstance(value, bool) and 0 <= value < 2**53 else 0


def _parse_time(value: Any) -> str | None:
    """Return a stored time; None for anything else."""
    try:
        return clock.format(clock.parse(value.replace("Z", "+00:00")))
    except (AttributeError, ValueError):
        return None


def _read_nothing(document: Line) -> Items:
    yield from ()


CLAUDE_CODE = Format(is_claude_line, _read_nothing, read_claude_lines)
CODEX = Format(is_codex_line, _read_nothing, read_codex_lines)
GEMINI_CLI = Format(is_gemini_document, _read_nothing, read_gemini_lines)

__all__ = ["AGENTS", "CLAUDE_CODE", "CODEX", "GEMINI_CLI", "find_transcripts"]
