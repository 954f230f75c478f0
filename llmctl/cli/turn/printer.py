"""Print a turn: streamed text, JSON at the end, or one JSON object per line."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from contextlib import suppress
from itertools import groupby
from operator import itemgetter
from signal import SIGINT, SIGPIPE
from typing import TYPE_CHECKING, Any

from llmctl.cli.console.console import Console
from llmctl.core.chat import Message, ResponseStart, TextDelta, ThinkingDelta, ToolResult
from llmctl.core.errors import (
    IncompleteError,
    InvalidOutputError,
    LlmctlError,
    PendingError,
    StorageError,
    UnavailableError,
)
from llmctl.core.options import TurnOptions
from llmctl.core.signals import Signalled
from llmctl.core.stored_values import decode_arguments, dumps
from llmctl.core.tools import printable_name
from llmctl.engine.runtime import ApprovalNeeded, Notice, RetryScheduled, StepStarted, ToolEvent, TurnEvent
from llmctl.engine.turn.state import TurnResult

if TYPE_CHECKING:
    from llmctl.cli.console.live import LiveDisplay
    from llmctl.cli.turn.answer_view import AnswerView

#: Limit of the error of a tool, of which its row has all.
_MAX_ERROR_CHARS = 300


class TurnPrinter:
    """Print the events of one turn to stdout and stderr."""

    def __init__(
        self,
        console: Console,
        options: TurnOptions,
        *,
        source: str = "",
        new_messages: bool = False,
        has_tools: bool = False,
        tags: Mapping[str, Any] | None = None,
    ) -> None:
        self._console = console
        self._io = console.io
        self._options = options
        #: The connection or provider that is asked.
        self._source = source
        #: Fields of every object of ``--jsonl`` that it does not have itself.
        self._tags = tags or {}
        #: ``--messages``: plain output is the JSON array of new messages.
        self._prints_messages = new_messages
        self._output = options.output if options.output != "-" else None
        #: The contents of ``--output``, written when complete.
        self._output_chunks: list[str] = []
        self._write: Callable[[str], object] = self._output_chunks.append if self._output else self._io.write
        #: Text is streamed, unless the output is derived from the whole answer.
        self._has_schema = options.schema is not None
        needs_whole = new_messages or options.extract or self._has_schema
        self._is_live = not (console.format.is_json or needs_whole)
        #: With tools, a pipe gets only the text of the last step, so text is held back. None if it is not.
        self._held_text: list[str] | None = [] if has_tools and not (self._io.stdout_tty and not self._output) else None
        self._shows_thinking = options.show_thinking
        self._is_at_line_start = True
        self._is_thinking_open = False
        #: Text for the next flush and its write function; it is flushed after the commit.
        self._pending: list[tuple[Callable[[str], object], str]] = []
        self._display = self._open_display()
        self._view = self._open_view()

    def show(self, event: TurnEvent) -> None:
        """Show one event."""
        if self._display is not None:
            self._show_status(self._display, event)
        if isinstance(event, TextDelta):
            self._show_text(event.text)
        elif self._console.format.kind == "jsonl":
            self._show_json_line(event)
        elif isinstance(event, ThinkingDelta):
            self._show_thinking(event.text)
        if self._held_text and isinstance(event, StepStarted | ToolEvent):
            self._held_text.clear()  # text before a tool call is not part of the answer
        if isinstance(event, RetryScheduled):
            self._end_line()
            if self._display is None or not self._display.shows_status:
                from llmctl.core.humanize import format_duration  # only for notes

                self._console.note(f"{event.error.message}; retrying in {format_duration(event.seconds * 1000)}")
        elif isinstance(event, Notice):
            self._console.note(event.text)
        elif isinstance(event, ToolEvent) and not self._console.format.is_json:
            self._end_line()
            if event.result is not None:
                for line in _describe_end(event):
                    self._console.note(line)

    def flush(self) -> None:
        """Write everything shown so far."""
        pending, self._pending = self._pending, []
        for write, pieces in groupby(pending, itemgetter(0)):
            write("".join(text for _, text in pieces))
            self._io.flush()
        if self._display is not None:
            self._display.wait()

    def finish(self, result: TurnResult) -> None:
        """Print the end of a successful turn. Raises InvalidOutputError if ``-x`` finds no block."""
        self._release_held_text()
        block = get_fenced_block(result) if self._extracts else None
        if self._console.format.is_json:
            document = self.build_document(result)
            self._write_json(document if self._console.format.kind == "json" else {"type": "done", **document})
        elif self._prints_messages:
            self._write_json([to_chat_message(message) for message in result.new_messages])
        elif self._has_schema:
            self._write_json(result.data)
        elif block is not None:
            self._write(self._sanitize(block if block.endswith("\n") or not block else block + "\n"))
        else:
            self._end_line()
        self._write_output()

    @property
    def _extracts(self) -> bool:
        """Whether the block is taken from the answer; with ``--schema`` the validated value was already."""
        return self._options.extract and not self._has_schema

    def build_document(self, result: TurnResult, *, is_failed: bool = False) -> dict[str, Any]:
        """Return the object of ``--json``. Raises InvalidOutputError if ``-x`` finds no block in an answer."""
        block = get_fenced_block(result) if self._extracts and not is_failed else result.data
        return {**result.to_json(decode_arguments), "data": block}

    def fail(self, result: TurnResult, error: LlmctlError) -> None:
        """Print the end of a failed turn; the caller reports the error itself."""
        if isinstance(error, PendingError):
            self._held_text = None  # there is no answer yet
        self._release_held_text()
        if self._console.format.kind == "json" and result.request_id:
            self._write_json(result.to_json(decode_arguments))
        elif self._console.format.kind == "jsonl" and result.request_id:
            from llmctl.cli.errors import error_object

            self._write_json({"type": "error", **error_object(error)})
        elif self._is_live:
            self._end_line()
        elif isinstance(error, StorageError) and result.status == "completed":  # not stored, but complete
            self.finish(result)

    def finish_interrupted(self, result: TurnResult, signum: int) -> None:
        """Print the end of a turn interrupted by a signal, with the partial answer as JSON."""
        if signum != SIGPIPE and self._is_live:
            with suppress(Signalled, LlmctlError):
                self._release_held_text()
                self._finish_view()
        if signum == SIGINT and self._io.stderr_tty and self._view is None:
            self._io.write_stderr("\n")  # after the answer, and the ^C that the terminal shows
        if signum == SIGPIPE or not (self._console.format.is_json and result.request_id):
            return
        error = IncompleteError("interrupted by a signal", hint="run again: llmctl chat -c", reason="interrupted")
        error.chat_id, error.request_id = result.chat_id, result.request_id
        with suppress(Signalled, LlmctlError):  # exit by the first signal
            self.fail(result, error)
            self._io.flush()

    def close(self) -> None:
        """Print what a bug or a signal has left on the terminal's live lines, and erase them."""
        if self._display is not None:
            with suppress(Signalled, LlmctlError):
                self._finish_view()
            self._display.close()

    def print_usage(self, result: TurnResult, *, is_failed: bool = False) -> None:
        """Print the usage line to stderr, with ``--usage`` or if stdout and stderr are terminals; after the error."""
        wanted = self._options.usage or (self._io.stdout_tty and self._io.stderr_tty)
        if wanted and not self._console.quiet and result.request_id:
            comes_last = is_failed and not self._console.format.is_json
            (self._console.add_footer if comes_last else self._console.write_stderr_line)(format_usage(result))

    def _show_text(self, text: str) -> None:
        if self._console.format.kind == "jsonl":
            self._pending.append((self._write, self._format_json({"type": "text", "text": text})))
        elif self._held_text is not None:
            self._held_text.append(text)
        elif self._is_live and text:
            self._close_thinking()
            if self._view is not None:
                self._pending.append((self._view.write, text))
                return
            self._pending.append((self._write, self._sanitize(text)))
            self._is_at_line_start = text.endswith("\n")

    def _release_held_text(self) -> None:
        """Show the text that was held back: it is the answer."""
        held_text, self._held_text = self._held_text, None
        if held_text:
            self._show_text("".join(held_text))
        self._close_thinking()
        self.flush()

    def _show_thinking(self, text: str) -> None:
        if self._shows_thinking and text:
            from llmctl.cli.console.terminal import colorize, safe_text, supports_color

            self._is_thinking_open = True
            text = safe_text(text) if self._io.stderr_tty else text
            text = colorize(text, "dim") if supports_color(self._console.env, self._io.stderr_tty) else text
            self._pending.append((self._io.write_stderr, text))

    def _close_thinking(self) -> None:
        if self._is_thinking_open:
            self._is_thinking_open = False
            self._pending.append((self._io.write_stderr, "\n\n"))

    def _show_json_line(self, event: TurnEvent) -> None:
        line = _event_object(event)
        if line is not None:
            self._pending.append((self._write, self._format_json(line)))

    def _end_line(self) -> None:
        self.flush()
        self._close_thinking()
        self.flush()
        self._finish_view()
        if not self._is_at_line_start:
            self._write("\n")
            self._is_at_line_start = True

    def _finish_view(self) -> None:
        if self._view is not None:
            self._view.finish()

    def _open_display(self) -> LiveDisplay | None:
        """Return what shows what is waited for; None without a terminal."""
        if not (self._io.stderr_tty or self._io.stdout_tty):
            return None
        from llmctl.cli.console import live

        if not live.is_drawable(self._console):
            return None
        display = live.LiveDisplay(self._console)
        display.set_status("waiting for the chat to be released" if self._options.wait else "waiting for the hub")
        display.wait()
        return display

    def _open_view(self) -> AnswerView | None:
        """Return what renders the answer; None where it is written as it comes."""
        is_plain = self._options.plain or self._console.env.get("NO_COLOR") or self._output
        if self._display is None or is_plain or not (self._is_live and self._io.stdout_tty):
            return None
        from llmctl.cli.turn.answer_view import AnswerView

        return AnswerView(self._io, self._display)

    def _show_status(self, display: LiveDisplay, event: TurnEvent) -> None:
        """Say what is waited for after this event."""
        display.pause()
        match event:
            case StepStarted():
                display.set_status("connecting")
            case ResponseStart():
                display.set_status("waiting for the answer")
            case ThinkingDelta():
                display.set_status("" if self._shows_thinking else "thinking")
            case TextDelta():
                display.set_status("" if self._is_live and self._held_text is None else "receiving the answer")
            case ToolEvent(name=name, result=None):
                display.set_status(f"tool {name} …")
            case RetryScheduled(seconds, _, error):
                reason = f"{error.status_code or error.message} from {self._source}"
                display.set_status(lambda passed: f"retrying in {max(0, seconds - passed):.0f} s: {reason}")

    def _write_json(self, document: Any) -> None:
        self._write(self._format_json(document))

    def _format_json(self, document: Any) -> str:
        is_tagged = self._tags and self._console.format.kind == "jsonl"  # else it is the user's data
        text = dumps({**document, **self._tags, **document} if is_tagged else document) + "\n"
        if not self._io.stdout_tty or self._output:
            return text
        from llmctl.cli.console.terminal import safe_json

        return safe_json(text)

    def _sanitize(self, text: str) -> str:
        if not self._io.stdout_tty or self._output:
            return text
        from llmctl.cli.console.terminal import safe_text

        return safe_text(text)

    def _write_output(self) -> None:
        if self._output:
            from llmctl.cli.atomic_write import write_file

            write_file(self._output, "".join(self._output_chunks))
        self._io.flush()


def get_fenced_block(result: TurnResult) -> str:
    """Return the first fenced block of the answer; raises InvalidOutputError if there is none."""
    from llmctl.core.answer_text import find_fenced_block  # only with --extract

    block = find_fenced_block(result.response.message.text if result.response else "")
    if block is None:
        raise InvalidOutputError(
            "the answer has no fenced code block",
            hint="show all of it: llmctl chats show last",
            reason="no_block",
        )
    return block


def to_chat_message(message: Message) -> dict[str, Any]:
    """Return a message in OpenAI's Chat Completions format, which ``--messages`` reads."""
    results = [part for part in message.parts if isinstance(part, ToolResult)]
    if results:
        return {"role": "tool", "tool_call_id": results[0].call_id, "content": results[0].content}
    calls = [
        {"id": call.id, "type": "function", "function": {"name": call.name, "arguments": call.arguments}}
        for call in message.tool_calls
    ]
    content = message.text or None if calls else message.text
    return {"role": message.role, "content": content} | ({"tool_calls": calls} if calls else {})


def name_source(error: LlmctlError, result: TurnResult) -> None:
    """Say in an error who sent it: the status of a failed response, and the connection."""
    source = result.connection or result.provider
    if isinstance(error, UnavailableError) and (error.status_code or 0) >= 400:
        status = str(error.status_code)
        error.message += f" (from {source})" if status in error.message else f" ({status} from {source})"


def format_usage(result: TurnResult) -> str:
    """Format usage, such as ``812 in, 240 out, $0.0041, 3.2 s, sonnet, chat 3f2a9c1e``."""
    from llmctl.core.humanize import format_dollars, format_duration  # only with --usage

    usage = {name: "?" if count is None else count for name, count in result.report_usage().items()}
    parts = [f"{usage['input_tokens']} in", f"{usage['output_tokens']} out"] if result.usage_known else []
    if result.cost is not None:
        parts.append(format_dollars(result.cost))
    parts += [format_duration(result.duration_ms), result.model]
    if result.cache_report.get("cached"):
        parts.append(f"cached {format_duration(result.cache_report['age_s'] * 1000)} ago")
    if result.chat_id:
        parts.append(f"chat {result.chat_id[:8]}")
    return ", ".join(parts)


def _describe_end(event: ToolEvent) -> list[str]:
    """Return how a call ended: its status with the first line of its error, and a hint if there is one."""
    from llmctl.cli.console.terminal import safe_text  # only where tools run

    error = next((line.strip() for line in (event.error or "").splitlines() if line.strip()), "")
    shown = error if len(error) <= _MAX_ERROR_CHARS else error[:_MAX_ERROR_CHARS] + "…"
    is_told = not shown or shown.startswith(f"{event.status} ")  # denied by a rule
    end = shown or event.status if is_told else f"{event.status}: {shown}"
    lines = [f"tool {printable_name(event.name)}: {end}", *([f"hint: {event.hint}"] if event.hint else [])]
    return list(map(safe_text, lines))


def _event_object(event: TurnEvent) -> dict[str, Any] | None:
    match event:
        case StepStarted(chat_id, thread_id, message_id, request_id, step):
            ids = {"chat_id": chat_id, "thread_id": thread_id, "message_id": message_id, "request_id": request_id}
            return {"type": "start", **ids, "step": step}
        case ThinkingDelta(text) if text:
            return {"type": "thinking", "text": text}
        case ApprovalNeeded(invocation_id, name, arguments):
            call = {"name": name, "arguments": decode_arguments(arguments)}
            return {"type": "pending", "invocation_id": invocation_id, **call}
        case ToolEvent(id, name, arguments, None):
            return {"type": "tool_call", "id": id, "name": name, "arguments": decode_arguments(arguments)}
        case ToolEvent(id, name, _, result, status):
            return {"type": "tool_result", "id": id, "name": name, "result": result, "status": status}
        case RetryScheduled(seconds, attempt, error):
            return {"type": "retry", "attempt": attempt, "wait_s": round(seconds, 3), "message": error.message}
    return None
