"""Help of llmctl and its command groups, from the catalog alone: 80 columns, ASCII, the same on every terminal."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from textwrap import fill

from llmctl import __version__
from llmctl.cli.catalog import CATALOG, PANELS, PLUMBING, subcommands

_TITLE = f"llmctl {__version__}: chat with language models, record everything in one SQLite file"
_USAGE = "Usage: llmctl [--db PATH] [--quiet] [--debug] [--version] COMMAND [ARGS]..."
TOPICS = ("exit-codes", "environment", "sql", "prompt-files", "permissions", "echo", "many-prompts")

GLOBAL_OPTIONS = """\
Global options, before or after the command:
  --db PATH      Hub to use; :memory: stores nothing on disk
  --quiet        Print results only: no notes, progress or usage
  --no-pager     Do not show long output in a pager
  --debug        Show the traceback of an error
  -V, --version  Show the version
  -h, --help     Show help
"""

GLOBAL_FOOTER = "\nGlobal options: --db PATH, --quiet, --no-pager, --debug, --version (see llmctl --help)\n"

EXAMPLES = """\
Examples:
  llmctl init                                   create the hub, find connections
  llmctl chat "why is the sky blue?"            ask a model, store everything
  git diff | llmctl chat "review this" -c       continue the last conversation
  llmctl chats search monads                    search all messages
  llmctl stats --json                           tokens, cost, latency, errors
"""

_START = """\
Get started:
  llmctl init                  create the hub and find connections
  llmctl connection add        set up a provider: asks for its key, offers models
  llmctl chat "hello"          ask a model (-m echo works offline)
  llmctl chats list            list conversations
  llmctl help                  list all commands
"""


def version_text() -> str:
    return f"llmctl {__version__}\n"


def root_help(*, everything: bool = False) -> str:
    """Return the help of llmctl; with ``everything`` including low-level commands and all subcommands."""
    panels = [_format_panel(panel, everything) for panel in PANELS if everything or panel != PLUMBING]
    topics = fill(", ".join(TOPICS), 78, break_on_hyphens=False).replace("\n", "\n  ")
    more = f"More: llmctl help COMMAND, llmctl help --all\nTopics of llmctl help:\n  {topics}\n"
    return "\n".join([f"{_TITLE}\n", f"{_USAGE}\n", *panels, GLOBAL_OPTIONS, EXAMPLES, more])


def short_help(state: str) -> str:
    """Return the output of ``llmctl`` without arguments: first steps and the state of the hub."""
    return "\n".join([f"{_TITLE}\n", f"{_USAGE}\n", _START, *([f"{state}\n"] if state else [])])


def group_help(path: tuple[str, ...], width: int = 80) -> str:
    """Return the help of a group, at most as wide as the terminal."""
    name = " ".join(path)
    commands = _format_list("Commands", subcommands(path), width)
    help_line = subcommands(path[:-1])[path[-1]]
    more = f"More: llmctl {name} COMMAND --help\n"
    return "\n".join([f"Usage: llmctl {name} COMMAND [ARGS]...\n", f"  {help_line}\n", commands, more + GLOBAL_FOOTER])


#: What people type, as in other programs, and the command that does it here.
_ELSEWHERE = {
    "agents": "agent list",
    "alias aliases": "model alias",
    "ask prompt talk": "chat",
    "auth login signin key keys": "connection add",
    "connections providers": "connection list",
    "continue resume": "chat -c",
    "config configure set get": "settings list",
    "cost costs spend usage tokens budget": "stats",
    "dashboard": "report",
    "delete rm remove": "chats delete",
    "find grep": "chats search",
    "history list ls": "chats list",
    "invoke": "tool invoke",
    "jobs": "job list",
    "logs requests": "request list",
    "models": "model list",
    "new": "chats new",
    "query sql": "db query",
    "replay": "request replay",
    "search": "chats search",
    "sessions": "agent sessions",
    "setup start": "init",
    "show": "chats show",
    "template templates": "prompts list",
    "test": "connection test",
    "tools": "tool list",
    "update upgrade": "db migrate",
    "version": "--version",
}


def suggest_command(words: Sequence[str], names: Iterable[str]) -> str:
    """Return a hint for an unknown first word: the command that does it, similar names, or how to send a prompt."""
    from difflib import get_close_matches
    from shlex import join

    known = next((command for others, command in _ELSEWHERE.items() if words[0].lower() in others.split()), None)
    near = [known] if known else get_close_matches(words[0], sorted(names), n=3)
    meant = f"did you mean {' or '.join(f'llmctl {name}' for name in near)}?" if near else "commands: llmctl help"
    dashes = "-- " if words[0] in subcommands(("chats",)) else ""
    return f"{meant}\nto send it to a model: llmctl chat {dashes}{join(words)}"


def wrap_manual(text: str, width: int) -> str:
    """Return the text of a manual with its paragraphs filled to a width; indented lines stay as they are."""
    lines: list[str] = []
    for block in text.split("\n\n"):
        rows = block.splitlines()
        is_prose = not any(row.startswith(" ") for row in rows)
        lines += [
            fill(" ".join(rows), width, break_long_words=False, break_on_hyphens=False) if is_prose else block,
            "",
        ]
    return "\n".join(lines[:-1])


def _format_panel(panel: str, everything: bool) -> str:
    lines: dict[str, str] = {}
    for name, entry in CATALOG.items():
        if entry.panel != panel:
            continue
        lines[name] = entry.help
        if everything:
            lines |= {f"  {name} {sub}": text for sub, text in entry.subcommands.items()}
    return _format_list(panel, lines)


def _format_list(title: str, lines: Mapping[str, str], width: int = 80) -> str:
    margin = max(map(len, lines), default=0) + 4
    rows = [
        fill(
            text,
            width,
            initial_indent=f"  {name}".ljust(margin),
            subsequent_indent=" " * margin,
            break_on_hyphens=False,
        )
        for name, text in lines.items()
    ]
    return "\n".join([f"{title}:", *rows]) + "\n"
