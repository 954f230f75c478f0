"""The help of llmctl and of its groups, from the catalogue alone: 80 columns, ASCII, the same on every terminal."""

from __future__ import annotations

from collections.abc import Mapping
from textwrap import fill

from llmctl import __version__
from llmctl.cli.catalog import CATALOG, PANELS, PLUMBING, below

_TITLE = f"llmctl {__version__}: every prompt, answer, request and token in one SQLite file you own"
_USAGE = "Usage: llmctl [--db PATH] [--quiet] [--debug] [--version] COMMAND [ARGS]..."
TOPICS = ("exit-codes", "environment", "sql", "prompt-files", "permissions", "echo")

_GLOBALS = """\
Global options, before or after the command:
  --db PATH      The hub to use; :memory: leaves nothing on disk
  --quiet        No notes, progress or usage; what was made as its id alone
  --debug        Show the traceback of an error
  -V, --version  Show the version
  -h, --help     Show help
"""

GLOBAL_FOOTER = "\nGlobal options: --db PATH, --quiet, --debug, --version (see llmctl --help)\n"

_EXAMPLES = """\
Examples:
  llmctl init                                   make the hub, find connections
  llmctl chat "why is the sky blue?"            ask, and keep all of it
  git diff | llmctl chat "review this" -c       go on with the last conversation
  llmctl chats search monads                    find what was said
  llmctl stats --json                           tokens, latency, errors
"""

_START = """\
Start with:
  llmctl init                  make the hub and find connections
  llmctl chat "hello"          ask (-m echo answers offline)
  llmctl chats list            look back
  llmctl help                  all commands
"""


def version() -> str:
    return f"llmctl {__version__}\n"


def root(*, everything: bool = False) -> str:
    """Return the grouped help of llmctl; with ``everything`` also its plumbing and all subcommands."""
    shown = [panel for panel in PANELS if everything or panel != PLUMBING]
    panels = [_panel(panel, everything) for panel in shown]
    more = f"More: llmctl help COMMAND, llmctl help --all\nTopics: llmctl help {'|'.join(TOPICS)}\n"
    return "\n".join([f"{_TITLE}\n", f"{_USAGE}\n", *panels, _GLOBALS, _EXAMPLES, more])


def short(state: str) -> str:
    """Return what ``llmctl`` alone says: where to begin, and how the hub is."""
    return "\n".join([f"{_TITLE}\n", f"{_USAGE}\n", _START, *([f"{state}\n"] if state else [])])


def group(path: tuple[str, ...]) -> str:
    """Return the help of a group."""
    name = " ".join(path)
    commands = _listed("Commands", below(path))
    about = below(path[:-1])[path[-1]]
    more = f"More: llmctl {name} COMMAND --help\n"
    return "\n".join([f"Usage: llmctl {name} COMMAND [ARGS]...\n", f"  {about}\n", commands, more + GLOBAL_FOOTER])


def _panel(panel: str, everything: bool) -> str:
    lines: dict[str, str] = {}
    for name, entry in CATALOG.items():
        if entry.panel != panel:
            continue
        lines[name] = entry.help
        if everything:
            lines |= {f"  {name} {sub}": text for sub, text in entry.subcommands.items()}
    return _listed(panel, lines)


def _listed(title: str, lines: Mapping[str, str]) -> str:
    margin = max(map(len, lines), default=0) + 4
    rows = [
        fill(text, 80, initial_indent=f"  {name}".ljust(margin), subsequent_indent=" " * margin)
        for name, text in lines.items()
    ]
    return "\n".join([f"{title}:", *rows]) + "\n"
