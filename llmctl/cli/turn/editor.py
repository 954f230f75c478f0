"""The line editor of the interactive chat, on a capable terminal: prompt_toolkit with what belongs to llmctl.

A paste of several lines is one character of the text being edited, from a private range of Unicode, and is drawn as
``[37 lines]``. The history is what the hub holds; nothing is written to disk.
"""

from __future__ import annotations

import asyncio
import re
import signal
from bisect import bisect_right
from collections.abc import AsyncGenerator, Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager, suppress
from functools import partial
from select import select
from typing import TYPE_CHECKING, NamedTuple

from prompt_toolkit import PromptSession
from prompt_toolkit.application import get_app, run_in_terminal
from prompt_toolkit.buffer import Buffer
from prompt_toolkit.completion import CompleteEvent, Completer, Completion
from prompt_toolkit.document import Document
from prompt_toolkit.enums import DEFAULT_BUFFER, EditingMode
from prompt_toolkit.filters import has_focus
from prompt_toolkit.formatted_text import StyleAndTextTuples
from prompt_toolkit.history import History
from prompt_toolkit.input import Input
from prompt_toolkit.key_binding import KeyBindings, KeyPressEvent
from prompt_toolkit.keys import Keys
from prompt_toolkit.layout.processors import Processor, Transformation, TransformationInput
from prompt_toolkit.layout.utils import explode_text_fragments
from prompt_toolkit.output import ColorDepth, Output
from prompt_toolkit.output.vt100 import Vt100_Output
from prompt_toolkit.styles import Style

from llmctl.cli.console.terminal import change_terminal, display_width, safe_line, supports_color, truncate
from llmctl.cli.turn.line_input import PROMPT, Candidate, Entry, find_dropped_paths, format_mention
from llmctl.core.humanize import pluralize
from llmctl.core.signals import Signalled

if TYPE_CHECKING:
    from llmctl.cli.console.console import Streams

#: A plane of Unicode without characters of its own: one stands for each paste.
_FIRST_PASTE, _LAST_PASTE = 0xF0000, 0xFFFFD
_PASTES = re.compile(f"[{chr(_FIRST_PASTE)}-{chr(_LAST_PASTE)}]")
#: A paste that is larger is drawn as a block: lines, characters.
_MAX_PASTE = (1, 2000)
#: An old message that is larger is drawn as a block, in which Ctrl-R finds nothing.
_MAX_OLD_MESSAGE = (200, 20_000)
#: How soon after Enter the rest of a paste arrives that a terminal does not mark.
_PASTE_GAP_S = 0.005
#: How many messages of the history are loaded at first; the rest when the user goes back that far, or searches.
_FIRST_PAGE, _NEXT_PAGE = 100, 1000
_NEAR_END = 20
_MARK_PASTES, _DO_NOT_MARK_PASTES = "\x1b[?2004h", "\x1b[?2004l"
_STYLE = Style.from_dict(
    {"bottom-toolbar": "noreverse ansibrightblack", "paste": "reverse", "completion-menu": "noreverse"}
)
_STOP_SIGNALS = (signal.SIGTERM, signal.SIGHUP)


class EditorSources(NamedTuple):
    """What the editor shows of the hub and of the chat, and runs for the user."""

    #: ``(before, limit) -> [(key, text), ...]``: user messages, newest first, of those before a key.
    read_prompts: Callable[[int | None, int], list[tuple[int, str]]]
    #: The completions of a text that ends at the cursor.
    complete: Callable[[str], Iterable[Candidate]]
    #: The parts of the status line, the most important first.
    describe_status: Callable[[], list[str]]
    #: Runs the user's editor on a text.
    edit_text: Callable[[str], str]


class Editor:
    """Reads messages from a terminal; Enter sends, Alt-Enter or a ``\\`` at the end of the line begins another line."""

    def __init__(
        self,
        io: Streams,
        env: Mapping[str, str],
        sources: EditorSources,
        *,
        keys: str = "emacs",
        input: Input | None = None,
        output: Output | None = None,
    ) -> None:
        self._io = io
        self._sources = sources
        self._blocks = PastedBlocks()
        #: The first character of a paste that the text begins with, while it does.
        self._pasted_start = ""
        self._status: list[str] = []
        history = _HubHistory(sources.read_prompts, self._blocks)
        color = ColorDepth.default() if supports_color(env, is_terminal=True) else ColorDepth.DEPTH_1_BIT
        self._output = output or _TerminalOutput.on_terminal(io, env, color)
        self._session: PromptSession[str] = PromptSession(
            PROMPT,
            multiline=True,
            prompt_continuation=lambda width, number, is_wrapped: "" if is_wrapped else "… ",
            history=history,
            completer=_HubCompleter(sources.complete),
            complete_while_typing=False,
            key_bindings=self._bind_keys(),
            input_processors=[_BlockProcessor(self._blocks)],
            bottom_toolbar=self._draw_status,
            editing_mode=EditingMode.VI if keys == "vi" else EditingMode.EMACS,
            enable_suspend=True,
            style=_STYLE,
            color_depth=color,
            input=input,
            output=self._output,
        )
        self._session.default_buffer.on_text_changed += self._forget_paste
        self._session.app.key_processor.after_key_press += history.request_more

    def read_entry(self) -> Entry:
        """Return the next entry. Raise EOFError for Ctrl-D, and Signalled for Ctrl-C where nothing is typed."""
        self._pasted_start = ""
        self._status = self._sources.describe_status()
        try:
            with _restore_handlers():
                text = self._session.prompt(handle_sigint=False, pre_run=_stop_on_signals)
        except KeyboardInterrupt:
            raise Signalled(signal.SIGINT) from None
        is_pasted = bool(self._pasted_start) or bool(_PASTES.match(text))
        return Entry.from_text(self._blocks.expand(text), is_pasted, typed=_PASTES.sub(" ", text))

    @contextmanager
    def hold_typing(self) -> Iterator[None]:
        """Keep what is typed in this block from the screen, for the next entry; a paste stays one."""
        with change_terminal(self._io.stdin_fd, off=("ECHO", "ICANON", "ICRNL")):
            self._write(_MARK_PASTES)
            yield

    def close(self) -> None:
        """Leave the terminal as it was."""
        self._write(_DO_NOT_MARK_PASTES)

    def _write(self, sequence: str) -> None:
        self._output.write_raw(sequence)
        self._output.flush()

    def _bind_keys(self) -> KeyBindings:
        bindings = KeyBindings()
        is_editing = has_focus(DEFAULT_BUFFER)
        bindings.add("enter", filter=is_editing)(self._end_line)
        bindings.add("escape", "enter", filter=is_editing)(lambda event: event.current_buffer.insert_text("\n"))
        bindings.add("c-c", filter=is_editing)(self._cancel)
        bindings.add("c-x", "c-e", filter=is_editing)(self._edit_in_program)
        bindings.add(Keys.BracketedPaste, filter=is_editing)(self._paste)
        return bindings

    def _end_line(self, event: KeyPressEvent) -> None:
        """Send the message, unless more of it has arrived already, or a ``\\`` asks for another line."""
        buffer = event.current_buffer
        if self._has_more(event):
            self._pasted_start = buffer.text[:1] or self._pasted_start
            buffer.insert_text("\n")
        elif buffer.document.char_before_cursor == "\\":
            buffer.delete_before_cursor()
            buffer.insert_text("\n")
        else:
            buffer.validate_and_handle()

    def _has_more(self, event: KeyPressEvent) -> bool:
        """Return whether text has arrived together with this Enter: a paste of a terminal that does not mark it."""
        if waiting := list(event.key_processor.input_queue):
            return any(len(press.key) == 1 for press in waiting)
        return bool(select([self._session.app.input.fileno()], [], [], _PASTE_GAP_S)[0])

    def _cancel(self, event: KeyPressEvent) -> None:
        """Ctrl-C: forget what is typed; it stays in the history of this run."""
        buffer = event.current_buffer
        if not buffer.text:
            event.app.exit(exception=KeyboardInterrupt())
            return
        buffer.append_to_history()
        buffer.reset()
        self._pasted_start = ""

    def _edit_in_program(self, event: KeyPressEvent) -> None:
        """Ctrl-X Ctrl-E: edit the text in the user's editor."""
        buffer = event.current_buffer

        def edit() -> None:
            text = self._sources.edit_text(self._blocks.expand(buffer.text)).rstrip("\n")
            buffer.document = Document(self._blocks.fold(text, _MAX_OLD_MESSAGE))

        run_in_terminal(edit)

    def _paste(self, event: KeyPressEvent) -> None:
        buffer, text = event.current_buffer, event.data.replace("\r\n", "\n").replace("\r", "\n")
        if paths := find_dropped_paths(text):
            buffer.insert_text("".join(f"{format_mention(path)} " for path in paths))
            return
        if buffer.cursor_position == 0:
            self._pasted_start = text[:1]
        buffer.insert_text(self._blocks.fold(text.rstrip("\n"), _MAX_PASTE))

    def _forget_paste(self, buffer: Buffer) -> None:
        if self._pasted_start and not _PASTES.match(buffer.text) and not buffer.text.startswith(self._pasted_start):
            self._pasted_start = ""

    def _draw_status(self) -> str:
        """Return as many parts of the status line as fit."""
        columns = self._output.get_size().columns
        line = ""
        for part in map(safe_line, self._status):
            longer = f"{line} · {part}" if line else part
            if display_width(longer) >= columns:
                break
            line = longer
        return line or truncate(safe_line(self._status[0]), columns - 1) if self._status else ""


class PastedBlocks:
    """The pastes of this run, and the characters that stand for them."""

    def __init__(self) -> None:
        self._texts: dict[str, str] = {}

    def fold(self, text: str, limits: tuple[int, int]) -> str:
        """Return the character of a new block for a text of more lines or characters; others as they are."""
        is_short = text.count("\n") < limits[0] and len(text) <= limits[1]
        code = _FIRST_PASTE + len(self._texts)
        if is_short or code > _LAST_PASTE:
            return text
        self._texts[chr(code)] = text
        return chr(code)

    def expand(self, text: str) -> str:
        """Return a text with its blocks in full."""
        return _PASTES.sub(lambda match: self._texts.get(match[0], match[0]), text)

    def label(self, character: str) -> str:
        """Return how a block is drawn: ``[37 lines]``."""
        text = self._texts[character]
        lines = text.count("\n") + 1
        return f"[{pluralize(lines, 'line') if lines > 1 else pluralize(len(text), 'character')}]"

    def __contains__(self, character: str) -> bool:
        return character in self._texts


class _BlockProcessor(Processor):
    """Draws blocks by their labels, and control characters as one visible character each."""

    def __init__(self, blocks: PastedBlocks) -> None:
        self._blocks = blocks

    def apply_transformation(self, transformation_input: TransformationInput) -> Transformation:
        drawn: StyleAndTextTuples = []
        starts: list[int] = []
        width = 0
        for style, text, *_ in explode_text_fragments(transformation_input.fragments):
            starts.append(width)
            if text in self._blocks:
                style, text = f"{style} class:paste", self._blocks.label(text)
            elif not text.isprintable():
                text = safe_line(text) or "␍"
            drawn.append((style, text))
            width += len(text)
        starts.append(width)

        def to_display(position: int) -> int:
            return starts[position] if position < len(starts) else width + position - len(starts) + 1

        def to_source(position: int) -> int:
            return bisect_right(starts, position) - 1 if position <= width else len(starts) - 1 + position - width

        return Transformation(drawn, source_to_display=to_display, display_to_source=to_source)


class _HubHistory(History):
    """The user messages of the hub, newest first, loaded as far as the user goes back."""

    def __init__(self, read: Callable[[int | None, int], list[tuple[int, str]]], blocks: PastedBlocks) -> None:
        super().__init__()
        self._read = read
        self._blocks = blocks
        self._before: int | None = None
        self._is_complete = False
        self._seen: set[int] = set()
        self._wanted = asyncio.Event()

    async def load(self) -> AsyncGenerator[str, None]:
        """Yield what was entered in this run, then messages of the hub; pause until more are wanted."""
        self._wanted = asyncio.Event()  # of the loop of this prompt
        for text in list(self._loaded_strings):
            yield text
        while not self._is_complete:
            if self._before is not None:
                await asyncio.sleep(0)  # the keys that have arrived come first
                await self._wanted.wait()
            for text in self._load_page(_FIRST_PAGE if self._before is None else _NEXT_PAGE):
                yield text
            _search_again()
            self.request_more(None)

    def request_more(self, _: object) -> None:
        """Load more if the user searches, or is near the end of what is loaded."""
        app = get_app()
        is_near_end = app.layout.has_focus(DEFAULT_BUFFER) and app.current_buffer.working_index < _NEAR_END
        if app.layout.is_searching or is_near_end:
            self._wanted.set()
        else:
            self._wanted.clear()

    def load_history_strings(self) -> Iterable[str]:
        """Load nothing at once: :meth:`load` does it page by page."""
        return ()

    def append_string(self, string: str) -> None:
        """Add what was entered, with its pastes: they are searched, too."""
        super().append_string(self._blocks.fold(self._blocks.expand(string), _MAX_OLD_MESSAGE))

    def store_string(self, string: str) -> None:
        """Write nothing: the turn stores the message."""

    def _load_page(self, limit: int) -> list[str]:
        rows = self._read(self._before, limit)
        self._is_complete = len(rows) < limit
        if rows:
            self._before = rows[-1][0]
        page = []
        for text in (text for _, text in rows if hash(text) not in self._seen):  # a fork has copies
            self._seen.add(hash(text))
            page.append(self._blocks.fold(text, _MAX_OLD_MESSAGE))
        self._loaded_strings += page
        return page


def _search_again() -> None:
    """Repeat a search that has found nothing so far, now that more is loaded."""
    control = get_app().layout.search_target_buffer_control
    if control and control.search_state.text and control.search_state.text not in control.buffer.text:
        control.buffer.apply_search(control.search_state)


class _HubCompleter(Completer):
    def __init__(self, complete: Callable[[str], Iterable[Candidate]]) -> None:
        self._complete = complete

    def get_completions(self, document: Document, complete_event: CompleteEvent) -> Iterable[Completion]:
        for candidate in self._complete(document.text_before_cursor):
            yield Completion(
                candidate.text,
                -candidate.replaces,
                display=safe_line(candidate.text),
                display_meta=safe_line(candidate.description),
            )


class _TerminalOutput(Vt100_Output):
    """A terminal that is not asked where its cursor is: the answer could mix with what is typed ahead."""

    @classmethod
    def on_terminal(cls, io: Streams, env: Mapping[str, str], color: ColorDepth) -> _TerminalOutput:
        stream = io.stdout if io.stdout_tty else io.stderr
        output = cls.from_pty(stream, term=env.get("TERM"), default_color_depth=color)
        assert isinstance(output, cls)
        return output

    @property
    def responds_to_cpr(self) -> bool:
        return False

    def get_rows_below_cursor_position(self) -> int:
        """Claim no rows: the status line stands directly below the text."""
        return 0


@contextmanager
def _restore_handlers() -> Iterator[None]:
    """Put the signal handlers back that the event loop takes away."""
    handlers = {signum: signal.getsignal(signum) for signum in _STOP_SIGNALS}
    try:
        yield
    finally:
        for signum, handler in handlers.items():
            signal.signal(signum, handler)


def _stop_on_signals() -> None:
    """End the prompt when the process is told to stop, so that the terminal is restored first."""
    app = get_app()
    if app.loop is None:
        return
    for signum in _STOP_SIGNALS:
        if signal.getsignal(signum) is not signal.SIG_IGN:
            app.loop.add_signal_handler(signum, partial(_exit_by_signal, signum))


def _exit_by_signal(signum: int) -> None:
    with suppress(Exception):  # it ends already
        get_app().exit(exception=Signalled(signum))
