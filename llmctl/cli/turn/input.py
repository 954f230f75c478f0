"""Read the input of a turn: prompt, standard input, attachments, ``--messages`` and system prompt."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from llmctl.cli.app import App
from llmctl.cli.console import console as stdin
from llmctl.core.chat import File, Message, Part, Text, ToolCall, ToolResult
from llmctl.core.errors import UsageError
from llmctl.core.options import TurnOptions
from llmctl.core.stored_values import dumps
from llmctl.core.values import Value
from llmctl.engine.turn.options import UserInput

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


def _parse_message(item: Any, source: str, names: dict[str, str]) -> Message:
    role = item.get("role") if isinstance(item, dict) else None
    content = _parse_content(item.get("content")) if isinstance(item, dict) else None
    match role:
        case "system" | "developer" if content is not None:
            return Message.from_text("system", content)
        case "user" if content:
            return Message.from_text("user", content)
        case "tool" if content is not None and isinstance(call_id := item.get("tool_call_id"), str):
            return Message("tool", (ToolResult(call_id, names.get(call_id, ""), content),))
        case "assistant" if parts := _parse_assistant_parts(item, content, names):
            return Message("assistant", parts)
    raise UsageError(f'invalid message in "{source}": {dumps(item)[:80]}', hint=_MESSAGES_HINT)


def _parse_assistant_parts(item: dict[str, Any], content: str | None, names: dict[str, str]) -> tuple[Part, ...]:
    parts: list[Part] = [Text(content)] if content else []
    for call in item.get("tool_calls") or ():
        function = call.get("function") if isinstance(call, dict) else None
        if isinstance(function, dict) and isinstance(call.get("id"), str) and isinstance(function.get("name"), str):
            names[call["id"]] = function["name"]
            parts.append(ToolCall(call["id"], function["name"], str(function.get("arguments") or "{}")))
    return tuple(parts)


def _parse_content(content: Any) -> str | None:
    """Return the text of a message; None if it has none or contains anything but text."""
    if isinstance(content, list):
        texts = [part.get("text") for part in content if isinstance(part, dict) and part.get("type") == "text"]
        return "".join(map(str, texts)) if len(texts) == len(content) else None
    return content if isinstance(content, str) else None
