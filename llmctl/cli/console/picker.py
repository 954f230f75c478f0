"""A full-screen picker with a preview, over many titles: what is typed filters fuzzily, keys choose what to do.

Titles are matched here; texts and previews are read as they are needed, through :class:`PickerSources`.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Literal, NamedTuple, cast

from prompt_toolkit.application import Application
from prompt_toolkit.buffer import Buffer
from prompt_toolkit.formatted_text import StyleAndTextTuples
from prompt_toolkit.input import Input
from prompt_toolkit.input.defaults import create_input
from prompt_toolkit.key_binding import KeyBindings, KeyPressEvent
from prompt_toolkit.layout import BufferControl, FormattedTextControl, HSplit, Layout, VSplit, Window
from prompt_toolkit.layout.containers import Container, DynamicContainer
from prompt_toolkit.layout.processors import BeforeInput
from prompt_toolkit.output import ColorDepth
from prompt_toolkit.output.vt100 import Vt100_Output
from prompt_toolkit.styles import Style

from llmctl.cli.console.terminal import display_width, safe_line, safe_text, supports_color, truncate

if TYPE_CHECKING:
    from llmctl.cli.console.console import Streams

Action = Literal["continue", "show", "export", "delete"]

#: What the keys do: its key, how the footer writes it, the shorter way.
_KEYS: Mapping[Action, tuple[str, str, str]] = {
    "continue": ("enter", "Enter continue", "⏎"),
    "show": ("c-s", "Ctrl-S show", "^S show"),
    "export": ("c-e", "Ctrl-E export", "^E export"),
    "delete": ("c-x", "Ctrl-X delete", "^X del"),
}
_LEAVE = "Esc leave"
#: From this width on the preview is beside the list, else below it if there are so many rows.
_WIDE_COLUMNS, _TALL_ROWS = 90, 16
#: Words of this length are looked for in texts, too; shorter ones are in nearly all of them.
_MIN_SEARCH_CHARS = 3
_STYLE = Style.from_dict({"chosen": "reverse", "dim": "ansibrightblack", "bad": "ansired", "match": "bold"})


class Choice(NamedTuple):
    """Something that can be picked."""

    id: str
    title: str


class Picked(NamedTuple):
    """What was picked, what to do with it, and the query that found it."""

    action: Action
    id: str
    query: str


class PickerSources(NamedTuple):
    """What the picker shows."""

    #: All choices, the first ones first.
    choices: Sequence[Choice]
    #: The ids whose texts match a query, the best first.
    search: Callable[[str], list[str]]
    #: The mark of an id, such as ``failed``, and its details, such as ``2 h ago  $0.01``.
    describe: Callable[[str], tuple[str, str]]
    #: The preview of an id for a query: lines.
    preview: Callable[[str, str], list[str]]


def pick(io: Streams, env: Mapping[str, str], sources: PickerSources, query: str = "") -> Picked | None:
    """Return what the user picks, or None for leaving. Needs a terminal as stdin and stdout."""
    color = ColorDepth.default() if supports_color(env, is_terminal=True) else ColorDepth.DEPTH_1_BIT
    output = Vt100_Output.from_pty(io.stdout, term=env.get("TERM"), default_color_depth=color)
    return _Picker(sources, query).run(create_input(io.stdin), output)


def rank_choices(query: str, choices: Sequence[Choice]) -> list[Choice]:
    """Return the choices whose titles match every word of the query, the best first.

    A word matches where its letters follow one another; the closer they stand, the better. Equal ones keep their order.
    """
    patterns = [re.compile(".*?".join(map(re.escape, word))) for word in query.lower().split()]
    if not patterns:
        return list(choices)
    ranked = []
    for position, choice in enumerate(choices):
        title, score = choice.title.lower(), 0
        for pattern in patterns:
            found = _find_closest(pattern, title)
            if found is None:
                break
            score += found
        else:
            ranked.append((score, position, choice))
    return [choice for _, _, choice in sorted(ranked, key=lambda item: item[:2])]


def _find_closest(pattern: re.Pattern[str], title: str) -> int | None:
    """Return the length of the shortest match, plus its place where that is the beginning of no word."""
    best, at = None, 0
    while (found := pattern.search(title, at)) is not None:
        inside = found.start() > 0 and title[found.start() - 1].isalnum()
        score = 2 * (found.end() - found.start()) + inside
        best, at = score if best is None else min(best, score), found.start() + 1
    return best


class _Picker:
    def __init__(self, sources: PickerSources, query: str) -> None:
        self._sources = sources
        self._by_id = {choice.id: choice for choice in sources.choices}
        self._matches: list[Choice] = []
        self._at = self._top = self._scroll = 0
        self._details: dict[str, tuple[str, str]] = {}
        self._previews: dict[tuple[str, str], list[str]] = {}
        self._query = Buffer(multiline=False, on_text_changed=lambda _: self._filter())
        self._query.text = query
        self._filter()
        self._query.cursor_position = len(query)

    def run(self, input: Input, output: Vt100_Output) -> Picked | None:
        self._output = output
        field = BufferControl(self._query, input_processors=[BeforeInput("> ")])
        body = DynamicContainer(self._arrange)
        footer = Window(FormattedTextControl(self._draw_footer), height=1)
        layout = Layout(HSplit([Window(field, height=1), body, footer]))
        app: Application[Picked | None] = Application(
            layout, style=_STYLE, key_bindings=self._bind_keys(), full_screen=True, input=input, output=output
        )
        app.ttimeoutlen = 0.05  # Esc alone leaves at once
        return app.run(handle_sigint=False)

    # --- what is shown

    def _arrange(self) -> Container:
        columns, rows = self._size()
        choices = FormattedTextControl(self._draw_choices)
        preview = Window(FormattedTextControl(self._draw_preview), wrap_lines=True)
        if columns >= _WIDE_COLUMNS:
            line = Window(width=1, char="│", style="class:dim")
            return VSplit([Window(choices, width=columns // 2), line, preview])
        if rows >= _TALL_ROWS:
            line = Window(height=1, char="─", style="class:dim")
            return HSplit([Window(choices, height=self._list_rows()), line, preview])
        return HSplit([Window(choices)])

    def _size(self) -> tuple[int, int]:
        size = self._output.get_size()
        return size.columns, size.rows

    def _list_rows(self) -> int:
        columns, rows = self._size()
        body = max(1, rows - 2)
        return body // 2 if columns < _WIDE_COLUMNS and rows >= _TALL_ROWS else body

    def _draw_choices(self) -> StyleAndTextTuples:
        columns, _ = self._size()
        width, rows = (columns // 2 if columns >= _WIDE_COLUMNS else columns) - 1, self._list_rows()
        self._top = min(max(self._top, self._at - rows + 1), self._at)
        shown = self._matches[self._top : self._top + rows]
        if not shown:
            return [("class:dim", "nothing found")]
        fragments: StyleAndTextTuples = []
        for index, choice in enumerate(shown, self._top):
            fragments += self._draw_choice(choice, width, is_chosen=index == self._at)
        return fragments

    def _draw_choice(self, choice: Choice, width: int, *, is_chosen: bool) -> StyleAndTextTuples:
        if choice.id not in self._details:
            self._details[choice.id] = self._sources.describe(choice.id)
        mark, details = self._details[choice.id]
        chosen = "class:chosen" if is_chosen else ""
        room = width - 2 - (len(mark) + 2 if mark else 0) - (len(details) + 2)
        if room < min(20, width // 2):  # the title is what is looked for
            details, room = "", room + len(details) + 2
        title = truncate(safe_line(choice.title), max(4, room))
        padding = " " * max(0, room - display_width(title))
        return [
            (chosen, f"{'>' if is_chosen else ' '} {title}{padding}"),
            (f"{chosen} class:bad", f"  {mark}" if mark else ""),
            (f"{chosen} class:dim", f"  {details}" if details else ""),
            ("", "\n"),
        ]

    def _draw_preview(self) -> StyleAndTextTuples:
        if not self._matches:
            return []
        key = (self._matches[self._at].id, self._query.text)
        if key not in self._previews:
            self._previews[key] = [safe_text(line) for line in self._sources.preview(*key)]
        lines = self._previews[key]
        self._scroll = min(self._scroll, max(0, len(lines) - 1))
        _, rows = self._size()
        words = [re.escape(word) for word in self._query.text.split() if len(word) >= _MIN_SEARCH_CHARS]
        text = "\n".join(lines[self._scroll : self._scroll + rows])
        pieces = re.split(f"({'|'.join(words)})", text, flags=re.IGNORECASE) if words else [text]
        return [("class:match" if index % 2 else "", piece) for index, piece in enumerate(pieces)]

    def _draw_footer(self) -> StyleAndTextTuples:
        columns, _ = self._size()
        count = f"{len(self._matches):,}/{len(self._sources.choices):,}"
        for form in (1, 2):
            keys = "  ".join([*(names[form] for names in _KEYS.values()), _LEAVE])
            if len(keys) + len(count) + 3 <= columns:
                break
        else:
            keys = " ".join(names[2] for names in _KEYS.values())
        return [("class:dim", truncate(f"{count}  {keys}", columns - 1))]

    # --- what is done

    def _filter(self) -> None:
        query = self._query.text.strip()
        matches = rank_choices(query, self._sources.choices)
        if len(query) >= _MIN_SEARCH_CHARS:
            known = {choice.id for choice in matches}
            found = (id for id in self._sources.search(query) if id not in known)
            matches += [self._by_id[id] for id in found if id in self._by_id]
        self._matches, self._at, self._top, self._scroll = matches, 0, 0, 0

    def _move(self, by: int) -> None:
        self._at = min(max(0, self._at + by), max(0, len(self._matches) - 1))
        self._scroll = 0

    def _bind_keys(self) -> KeyBindings:
        bindings = KeyBindings()
        moves: dict[tuple[str, ...], Callable[[], int]] = {
            ("up", "c-p"): lambda: -1,
            ("down", "c-n"): lambda: 1,
            ("pageup",): lambda: -self._list_rows(),
            ("pagedown",): lambda: self._list_rows(),
        }
        for names, step in moves.items():
            for name in names:
                bindings.add(name)(lambda _, step=step: self._move(step()))
        for name, lines in (("s-up", -3), ("s-down", 3)):
            bindings.add(name)(lambda _, lines=lines: self._scroll_preview(lines))
        for action, (name, _, _) in _KEYS.items():
            bindings.add(name)(lambda event, action=action: self._choose(event, action))
        for name in ("escape", "c-c", "c-d", "c-q"):
            bindings.add(name)(lambda event: event.app.exit(result=None))
        return bindings

    def _scroll_preview(self, lines: int) -> None:
        self._scroll = max(0, self._scroll + lines)

    def _choose(self, event: KeyPressEvent, action: str) -> None:
        if self._matches:
            event.app.exit(result=Picked(cast(Action, action), self._matches[self._at].id, self._query.text))
