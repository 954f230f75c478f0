"""Read the input of a turn: prompt, standard input, attachments, ``--messages`` and system prompt."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from llmctl.cli.app import App
from llmctl.cli.console import console as stdin
from llmctl.core.chat import File, Message, Part, Text, Thinking, ToolCall, ToolResult
from llmctl.core.errors import UsageError
from llmctl.core.options import TurnOptions
from llmctl.core.stored_values import dumps
from llmctl.core.values import Value
from llmctl.engine.turn.plan import UserInput

if TYPE_CHECKING:
    from llmctl.cli.turn.prompt_files import PromptFile


class ChatArgs(Value):
    """The arguments of ``chat``, ``run`` and ``agent run`` besides the shared turn flags."""

    words: tuple[str, ...] = ()
    continue_: bool = False
    chat: str | None = None
    name: str | None = None
    system: str | None = None
    system_file: str | None = None
    interactive: bool = False
    #: Finish what is unfinished, on a terminal too.
    finish: bool = False
    no_log: bool = False
    messages: str | None = None
    #: A prompt file by path or by name, and its parameters.
    file: str | None = None
    template: str | None = None
    params: tuple[str, ...] = ()
    #: An agent by REF or by file, and the session to continue.
    agent: str | None = None
    session: str | None = None
    force: bool = False


def read_input(
    app: App, args: ChatArgs, options: TurnOptions, file: PromptFile | None, system: str | None
) -> UserInput:
    """Read the input. ``system`` overrides the system prompt of the prompt file."""
    files = _read_attachments(app, options.attach) if options.attach else ()
    from_stdin = "-" in options.attach
    use_stdin = False if from_stdin or args.messages == "-" else options.stdin
    if file:
        file_system, prompt = file.render(args.words, use_stdin)
        system = file_system if system is None else system
    else:
        prompt = stdin.read_prompt(args.words, io=app.console.io, env=app.env, note=app.console.note, stdin=use_stdin)
    return UserInput(prompt=prompt, files=files, system=system, messages=_read_messages(app, args.messages))


def _read_attachments(app: App, names: Sequence[str]) -> tuple[File, ...]:
    """Return the attachments; that from standard input (``-``) comes last."""
    from llmctl.engine.chats.attachments import attachment_from_bytes, read_attachment

    files = tuple(read_attachment(name) for name in names if name != "-")
    if "-" not in names:
        return files
    return (*files, attachment_from_bytes(stdin.read_bytes(app.console.io, app.console.note)))


def read_system_prompt(args: ChatArgs) -> str | None:
    """Return the system prompt from the flags; raises NotFoundError for an unreadable file."""
    if not args.system_file:
        return args.system
    from llmctl.core.text_files import read_text_file  # rare

    return read_text_file(args.system_file).rstrip("\n")


def _read_messages(app: App, source: str | None) -> tuple[Message, ...]:
    if not source:
        return ()
    from llmctl.core.text_files import read_text_file  # rare

    return parse_messages(
        stdin.read_text(app.console.io, app.console.note) if source == "-" else read_text_file(source), source
    )


_MESSAGES_HINT = 'such as [{"role": "user", "content": "hello"}]'


def parse_messages(text: str, source: str) -> tuple[Message, ...]:
    """Parse a JSON array of messages in OpenAI's Chat Completions format, for ``--messages``.

    Raises UsageError for anything else, or if the last message is not from the user or a tool.
    """
    try:
        items = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise UsageError(f'"{source}" is not valid JSON: {error}') from error
    if not isinstance(items, list) or not items:
        raise UsageError(f'"{source}" must be a non-empty JSON array of messages', hint=_MESSAGES_HINT)
    names: dict[str, str] = {}
    messages = tuple(_parse_message(item, source, names) for item in items)
    if messages[-1].role not in ("user", "tool"):
        raise UsageError(f'the last message in "{source}" must be from user or tool, got "{messages[-1].role}"')
    return messages


#: The keys of a message by role; a null is the same as a missing key.
_KEYS = {
    "system": ("role", "content"),
    "developer": ("role", "content"),
    "user": ("role", "content"),
    "tool": ("role", "content", "tool_call_id", "name"),
    "assistant": ("role", "content", "tool_calls", "reasoning_content", "reasoning"),
}
#: The keys of what stands inside a message, by type.
_PART_KEYS = {
    "text": ("type", "text"),
    "image_url": ("type", "image_url"),
    "file": ("type", "file"),
    "input_audio": ("type", "input_audio"),
}


def _parse_message(item: Any, source: str, names: dict[str, str]) -> Message:
    role = item.get("role") if isinstance(item, dict) else None
    if role not in _KEYS:
        raise _invalid_message(item, source)
    _require_known_keys(item, _KEYS[role], source)
    parts = _parse_content(item.get("content"), source)
    is_text = all(isinstance(part, Text) for part in parts)
    match role:
        case "system" | "developer" if is_text and item.get("content") is not None:
            return Message("system", parts)
        case "user" if parts:
            return Message("user", parts)
        case "tool" if is_text and isinstance(call_id := item.get("tool_call_id"), str):
            content = Message("tool", parts).text
            name = item.get("name") or names.get(call_id, "")
            if item.get("content") is not None and isinstance(name, str):
                return Message("tool", (ToolResult(call_id, name, content),))
        case "assistant" if is_text:
            if parts := (*_parse_thinking(item), *parts, *_parse_calls(item, source, names)):
                return Message("assistant", parts)
    raise _invalid_message(item, source)


def _invalid_message(item: Any, source: str) -> UsageError:
    return UsageError(f'invalid message in "{source}": {dumps(item)[:80]}', hint=_MESSAGES_HINT)


def _require_known_keys(item: dict[str, Any], known: Sequence[str], source: str) -> None:
    """Raise UsageError for a key that would not be sent."""
    for key, value in item.items():
        if key not in known and value not in (None, [], {}):
            raise UsageError(
                f'cannot send "{key}" of a message in "{source}"', hint=f"remove it; known keys: {', '.join(known)}"
            )


def _parse_thinking(item: dict[str, Any]) -> tuple[Part, ...]:
    text = item.get("reasoning_content") or item.get("reasoning")
    return (Thinking(text),) if text and isinstance(text, str) else ()


def _parse_calls(item: dict[str, Any], source: str, names: dict[str, str]) -> tuple[Part, ...]:
    parts: list[Part] = []
    for call in item.get("tool_calls") or ():
        function = call.get("function") if isinstance(call, dict) else None
        if not (isinstance(function, dict) and isinstance(call.get("id"), str)):
            raise _invalid_message(item, source)
        _require_known_keys(call, ("id", "type", "function", "index"), source)
        _require_known_keys(function, ("name", "arguments"), source)
        name, arguments = function.get("name"), function.get("arguments") or "{}"
        if not isinstance(name, str):
            raise _invalid_message(item, source)
        names[call["id"]] = name
        parts.append(ToolCall(call["id"], name, arguments if isinstance(arguments, str) else dumps(arguments)))
    return tuple(parts)


def _parse_content(content: Any, source: str) -> tuple[Part, ...]:
    """Return the parts of a message: text, and files of which the content or an address is there."""
    if content is None or isinstance(content, str):
        return (Text(content),) if content else ()
    if not isinstance(content, list):
        raise _invalid_message(content, source)
    return tuple(_parse_part(part, source) for part in content)


def _parse_part(part: Any, source: str) -> Part:
    kind = part.get("type") if isinstance(part, dict) else None
    if kind not in _PART_KEYS:
        raise _invalid_message(part, source)
    _require_known_keys(part, _PART_KEYS[kind], source)
    value = part.get(kind)
    if kind == "text" and isinstance(value, str):
        return Text(value)
    if isinstance(value, dict):
        from llmctl.formats.message_files import read_file_part  # only for messages with files

        if file := read_file_part(kind, value):
            return file
    raise _invalid_message(part, source)
