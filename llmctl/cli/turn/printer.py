"""How a turn is shown: text as it comes, JSON at the end, or one JSON object a line."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from contextlib import suppress
from itertools import groupby
from operator import itemgetter
from signal import SIGPIPE
from typing import Any

from llmctl.cli.app import App
from llmctl.cli.console.terminal import coloured, has_colour, safe_json, safe_text
from llmctl.core.errors import IncompleteError, InvalidOutputError, LlmctlError, PendingError, StorageError
from llmctl.core.events import TextDelta, ThinkingDelta
from llmctl.core.humanize import dollars
from llmctl.core.markdown import first_block
from llmctl.core.messages import Message, ToolResult
from llmctl.core.signals import Signalled
from llmctl.core.stored_json import dumps
from llmctl.engine.tools.records import parsed_arguments, shown_name
from llmctl.engine.turn.result import Note, Outcome, Pending, Started, ToolRun, TurnEvent, Waiting


class Printer:
    """Shows the events of one turn on stdout and stderr."""

    def __init__(self, app: App, *, new_messages: bool = False, has_tools: bool = False) -> None:
        self._app = app
        self._io = app.io
        #: ``--messages``: the plain form is the array of what the turn added.
        self._new_messages = new_messages
        self._output = app.asking["output"] if app.asking["output"] != "-" else None
        #: What goes into ``--output``, whole or not at all.
        self._file: list[str] = []
        self._write: Callable[[str], object] = self._file.append if self._output else self._io.write
        #: Text goes out as it comes, unless the result is something made of the whole of it.
        self._has_schema = app.asking["schema"] is not None
        whole = new_messages or app.asking["extract"] or self._has_schema
        self._live = not (app.format.is_json or whole)
        #: With tools a pipe gets the last step's text alone: it is held back until that is known. None: nothing is.
        self._held: list[str] | None = [] if has_tools and not (self._io.stdout_tty and not self._output) else None
        self._shows_thinking = bool(app.asking["show_thinking"])
        self._at_line_start = True
        self._thinking_open = False
        #: What is shown with the next flush, and by what: by then it is in the hub.
        self._shown: list[tuple[Callable[[str], object], str]] = []

    def show(self, event: TurnEvent) -> None:
        """Show one event."""
        if isinstance(event, TextDelta):
            self._text(event.text)
        elif self._app.format.kind == "jsonl":
            self._json_line(event)
        elif isinstance(event, ThinkingDelta):
            self._thinking(event.text)
        if self._held and isinstance(event, Started | ToolRun):
            self._held.clear()  # what was said before a call is no part of the answer
        if isinstance(event, Waiting):
            self._end_line()
            self._app.note(f"{event.error.message}; trying again in {event.seconds:.1f} s")
        elif isinstance(event, Note):
            self._app.note(event.text)
        elif isinstance(event, ToolRun) and not self._app.format.is_json:
            self._end_line()
            if event.result is not None:
                self._app.note(f"tool {shown_name(event.name)}: {event.status}")

    def flush(self) -> None:
        """Let the reader see everything shown so far."""
        shown, self._shown = self._shown, []
        for write, pieces in groupby(shown, itemgetter(0)):
            write("".join(text for _, text in pieces))
            self._io.flush()

    def finish(self, outcome: Outcome) -> None:
        """Show the end of a turn that went well. Raises InvalidOutputError where ``-x`` finds no block."""
        self._release()
        extracts = self._app.asking["extract"] and not self._has_schema  # a checked value is the block's, or the whole
        block = fenced_block(outcome) if extracts else None
        if self._app.format.is_json:
            document = {**outcome.as_json(parsed_arguments), "data": block if extracts else outcome.data}
            self._write_json(document if self._app.format.kind == "json" else {"type": "done", **document})
        elif self._new_messages:
            self._write_json([chat_message(message) for message in outcome.new_messages])
        elif self._has_schema:
            self._write_json(outcome.data)
        elif block is not None:
            self._write(self._harmless(block if block.endswith("\n") or not block else block + "\n"))
        else:
            self._end_line()
        self._deliver()

    def fail(self, outcome: Outcome, error: LlmctlError) -> None:
        """Show the end of a turn that did not go well; the error itself is for whoever catches it."""
        if isinstance(error, PendingError):
            self._held = None  # there is no answer yet
        self._release()
        if self._app.format.kind == "json" and outcome.request_id:
            self._write_json(outcome.as_json(parsed_arguments))
        elif self._app.format.kind == "jsonl" and outcome.request_id:
            self._write_json({"type": "error", **error_object(error)})
        elif self._live:
            self._end_line()
        elif isinstance(error, StorageError) and outcome.status == "completed":  # not stored, but the answer
            self.finish(outcome)

    def interrupted(self, outcome: Outcome, signum: int) -> None:
        """Tell a reader of JSON what came until a signal ended the turn; others have it on their screen."""
        if signum != SIGPIPE and self._live:
            with suppress(Signalled, LlmctlError):
                self._release()
        if signum == SIGPIPE or not (self._app.format.is_json and outcome.request_id):
            return
        error = IncompleteError("interrupted by a signal", hint="llmctl chat -c asks again", reason="interrupted")
        error.chat_id, error.request_id = outcome.chat_id, outcome.request_id
        with suppress(Signalled, LlmctlError):  # the first signal is the one to die of
            self.fail(outcome, error)
            self._io.flush()

    def usage(self, outcome: Outcome) -> None:
        """Print the usage line on stderr, where both streams are terminals or it was asked for."""
        wanted = self._app.asking["usage"] or (self._io.stdout_tty and self._io.stderr_tty)
        if wanted and not self._app.quiet and outcome.request_id:
            self._app.say_line(usage_line(outcome))

    def _text(self, text: str) -> None:
        if self._app.format.kind == "jsonl":
            self._shown.append((self._write, self._json_text({"type": "text", "text": text})))
        elif self._held is not None:
            self._held.append(text)
        elif self._live and text:
            self._close_thinking()
            self._shown.append((self._write, self._harmless(text)))
            self._at_line_start = text.endswith("\n")

    def _release(self) -> None:
        """Let out what was held back: it is the answer."""
        held, self._held = self._held, None
        if held:
            self._text("".join(held))
        self._close_thinking()
        self.flush()

    def _thinking(self, text: str) -> None:
        if self._shows_thinking and text:
            self._thinking_open = True
            text = safe_text(text) if self._io.stderr_tty else text
            text = coloured(text, "dim") if has_colour(self._app.env, self._io.stderr_tty) else text
            self._shown.append((self._io.say, text))

    def _close_thinking(self) -> None:
        if self._thinking_open:
            self._thinking_open = False
            self._shown.append((self._io.say, "\n\n"))

    def _json_line(self, event: TurnEvent) -> None:
        line = _line(event)
        if line is not None:
            self._shown.append((self._write, self._json_text(line)))

    def _end_line(self) -> None:
        self.flush()
        self._close_thinking()
        self.flush()
        if not self._at_line_start:
            self._write("\n")
            self._at_line_start = True

    def _write_json(self, document: Any) -> None:
        self._write(self._json_text(document))

    def _json_text(self, document: Any) -> str:
        text = dumps(document) + "\n"
        return safe_json(text) if self._io.stdout_tty and not self._output else text

    def _harmless(self, text: str) -> str:
        return safe_text(text) if self._io.stdout_tty and not self._output else text

    def _deliver(self) -> None:
        if self._output:
            from llmctl.cli.files import write_whole

            write_whole(self._output, "".join(self._file))
        self._io.flush()


def fenced_block(outcome: Outcome) -> str:
    """Return the first fenced block of the answer; raises InvalidOutputError for none."""
    found = first_block(outcome.response.message.text if outcome.response else "")
    if found is None:
        raise InvalidOutputError(
            "the answer holds no fenced block", hint="the whole answer: llmctl chats show last", reason="no_block"
        )
    return found


def chat_message(message: Message) -> dict[str, Any]:
    """Return a message in the form of OpenAI's Chat Completions, which ``--messages`` takes again."""
    results = [part for part in message.parts if isinstance(part, ToolResult)]
    if results:
        return {"role": "tool", "tool_call_id": results[0].call_id, "content": results[0].content}
    calls = [
        {"id": call.id, "type": "function", "function": {"name": call.name, "arguments": call.arguments}}
        for call in message.tool_calls
    ]
    content = message.text or None if calls else message.text
    return {"role": message.role, "content": content} | ({"tool_calls": calls} if calls else {})


def usage_line(outcome: Outcome) -> str:
    """Return such as ``812 in, 240 out, $0.0041, 3.2 s, sonnet, chat 3f2a9c1e``."""
    usage = outcome.usage
    parts = [f"{usage['input_tokens']} in", f"{usage['output_tokens']} out"] if outcome.usage_known else []
    if outcome.cost is not None:
        parts.append(dollars(outcome.cost))
    parts += [f"{outcome.duration_ms / 1000:.1f} s", outcome.model]
    if outcome.chat_id:
        parts.append(f"chat {outcome.chat_id[:8]}")
    return ", ".join(parts)


def error_object(error: LlmctlError) -> Mapping[str, Any]:
    """Return the error as the JSON contract has it."""
    return {
        "error": {
            "code": error.code,
            "reason": error.reason,
            "message": error.message,
            "hint": error.hint,
            "retryable": error.retryable,
            "chat_id": error.chat_id,
            "request_id": error.request_id,
        }
    }


def _line(event: TurnEvent) -> dict[str, Any] | None:
    match event:
        case Started(chat_id, thread_id, message_id, request_id, step):
            ids = {"chat_id": chat_id, "thread_id": thread_id, "message_id": message_id, "request_id": request_id}
            return {"type": "start", **ids, "step": step}
        case ThinkingDelta(text) if text:
            return {"type": "thinking", "text": text}
        case Pending(invocation_id, name, arguments):
            call = {"name": name, "arguments": parsed_arguments(arguments)}
            return {"type": "pending", "invocation_id": invocation_id, **call}
        case ToolRun(id, name, arguments, None):
            return {"type": "tool_call", "id": id, "name": name, "arguments": parsed_arguments(arguments)}
        case ToolRun(id, name, _, result, status):
            return {"type": "tool_result", "id": id, "name": name, "result": result, "status": status}
        case Waiting(seconds, attempt, error):
            return {"type": "retry", "attempt": attempt, "wait_s": round(seconds, 3), "message": error.message}
    return None
