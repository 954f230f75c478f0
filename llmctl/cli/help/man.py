"""Man pages of llmctl and of every command, from the same source as ``--help``: man(7), for groff and mandoc.

Only the build of the wheel calls it (``hatch_build.py``); ``man llmctl-chats-list`` finds the pages beside the program.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from llmctl import __version__
from llmctl.cli import catalog, command_tree
from llmctl.cli.help import text
from llmctl.cli.help.topics import ENVIRONMENT_HELP, EXIT_CODE_HELP
from llmctl.core.errors import EXIT_CODES

#: What groff would set as a typographic character, or read as a request, where it stands in text.
_ESCAPES = str.maketrans({"\\": r"\e", "-": r"\-", "'": r"\(aq", "`": r"\(ga", "^": r"\(ha", "~": r"\(ti"})


def build_pages(date: str) -> dict[str, str]:
    """Return the pages by file name, such as ``llmctl-chats-list.1``; ``date`` is printed in each, as YYYY-MM-DD."""
    commands = catalog.command_paths()
    parents = (path[:length] for path in commands for length in range(1, len(path)))
    groups = list(dict.fromkeys(path for path in parents if catalog.is_group(path)))
    pages: dict[tuple[str, ...], Iterator[str]] = {(): _root_page()}
    pages |= {path: _group_page(path) for path in groups}
    pages |= {path: _command_page(path) for path in commands}
    return {f"{_page_name(path)}.1": _header(path, date) + "".join(body) for path, body in pages.items()}


def _root_page() -> Iterator[str]:
    yield _section("NAME", f"llmctl {_escape('-')} chat with language models, record everything in one SQLite file")
    yield _section(
        "SYNOPSIS", f"{_bold('llmctl')} {_flags('[--db PATH] [--quiet] [--debug] [--version] COMMAND [ARGS]...')}"
    )
    for panel in catalog.PANELS:
        entries = {name: entry.help for name, entry in catalog.CATALOG.items() if entry.panel == panel}
        yield _section(panel.upper(), _list_commands((), entries))
    yield _section("OPTIONS", _global_options())
    yield _section("EXAMPLES", _example(text.EXAMPLES.partition("\n")[2]))
    codes = {str(code): f"{name}: {EXIT_CODE_HELP[code]}" for code, name in EXIT_CODES.items()}
    yield _section("EXIT STATUS", _list_terms({_bold(code): help_text for code, help_text in codes.items()}))
    variables = {name: help_text for names in ENVIRONMENT_HELP.values() for name, help_text in names.items()}
    yield _section("ENVIRONMENT", _list_terms({_bold(name): help_text for name, help_text in variables.items()}))
    yield _see_also([(name,) for name in catalog.CATALOG])


def _group_page(path: tuple[str, ...]) -> Iterator[str]:
    commands = catalog.subcommands(path)
    yield _section("NAME", f"{_escape(_page_name(path))} {_escape('-')} {_escape(_help_line(path))}")
    yield _section("SYNOPSIS", f"{_bold('llmctl ' + ' '.join(path))} {_flags('COMMAND [ARGS]...')}")
    yield _section("COMMANDS", _list_commands(path, commands))
    yield _section("OPTIONS", _global_options())
    yield _see_also([(), *((*path, name) for name in commands)])


def _command_page(path: tuple[str, ...]) -> Iterator[str]:
    command = command_tree.build_command(path)
    ctx = command.context_class(command, info_name=" ".join(("llmctl", *path)))
    manual, _, examples = (command.help or "").partition("\nExamples:\n")
    yield _section("NAME", f"{_escape(_page_name(path))} {_escape('-')} {_escape(_help_line(path))}")
    yield _section(
        "SYNOPSIS", f"{_bold('llmctl ' + ' '.join(path))} {_flags(' '.join(command.collect_usage_pieces(ctx)))}"
    )
    yield _section("DESCRIPTION", _paragraphs(manual))
    yield _section("OPTIONS", "".join(_option_groups(command, ctx)))
    if examples:
        yield _section("EXAMPLES", _example(examples))
    yield _section(
        "EXIT STATUS",
        "0 on success; the other codes are listed in\n.BR llmctl (1),\nand by\n.B llmctl help exit\\-codes",
    )
    yield _see_also([(), *[path[:-1]][: len(path) > 1], *([("help",)] if path != ("help",) else [])])


def _option_groups(command: Any, ctx: Any) -> Iterator[str]:
    for title, rows in command.help_sections(ctx).items():
        if rows:
            yield f".SS {title}\n" + _list_terms({_flags(name): help_text for name, help_text in rows})
    yield f".SS Global options\n{_global_options()}"


def _global_options() -> str:
    lines = text.GLOBAL_OPTIONS.splitlines()[1:]
    pairs = (re.split(r"\s{2,}", line.strip(), maxsplit=1) for line in lines)
    return _list_terms({_flags(name): help_text for name, help_text in pairs})


def _help_line(path: tuple[str, ...]) -> str:
    return catalog.subcommands(path[:-1])[path[-1]]


def _page_name(path: tuple[str, ...]) -> str:
    return "-".join(("llmctl", *path))


# --- man(7)


def _header(path: tuple[str, ...], date: str) -> str:
    return f'.TH {_escape(_page_name(path).upper())} 1 {date} "llmctl {__version__}" "llmctl manual"\n.nh\n.ad l\n'


def _section(title: str, body: str) -> str:
    return f".SH {title}\n{body.rstrip()}\n"


def _see_also(paths: Iterable[tuple[str, ...]]) -> str:
    pages = [f".BR {_escape(_page_name(path))} (1)" for path in dict.fromkeys(paths)]
    return _section("SEE ALSO", " ,\n".join(pages))


def _list_commands(path: tuple[str, ...], commands: Mapping[str, str]) -> str:
    return _list_terms({_bold(" ".join(("llmctl", *path, name))): help_text for name, help_text in commands.items()})


def _list_terms(terms: Mapping[str, str]) -> str:
    return "".join(
        f".TP\n{term}\n{_protect(_escape(' '.join(help_text.split())))}\n" for term, help_text in terms.items()
    )


def _paragraphs(manual: str) -> str:
    """Return the paragraphs of a manual; a block with indented lines stays as it is written."""
    blocks = []
    for block in manual.strip().split("\n\n"):
        lines = block.splitlines()
        if any(line.startswith(" ") for line in lines):
            blocks.append(_example(block))
        else:
            blocks.append(_protect(_escape(" ".join(lines))) + "\n")
    return ".PP\n".join(blocks)


def _example(block: str) -> str:
    """Return lines that stay as they are."""
    lines = [line.removeprefix("  ") for line in block.rstrip().splitlines()]
    return ".EX\n" + "".join(f"{_protect(_escape(line))}\n" for line in lines) + ".EE\n"


def _flags(usage: str) -> str:
    """Return flags in bold and what stands for values in italics."""
    words = re.split(r"(\s+|[\[\],|/{}<>=:.]+)", usage)
    return "".join(
        _bold(word) if word.startswith("-") else rf"\fI{_escape(word)}\fR" if word[:1].isalpha() else _escape(word)
        for word in words
    )


def _bold(word: str) -> str:
    return rf"\fB{_escape(word)}\fR"


def _escape(line: str) -> str:
    escaped = line.translate(_ESCAPES)
    return "".join(char if char.isascii() else f"\\[u{ord(char):04X}]" for char in escaped)


def _protect(line: str) -> str:
    """Return a line that does not begin as a request does."""
    return rf"\&{line}" if line.startswith(".") else line
