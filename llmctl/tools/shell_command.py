"""Command lines with ``{slots}``: which places of a line would execute an argument, and how a shell gets arguments.

A shell reads an argument only from an environment variable, expanded in double quotes, so nothing in it is read as
code: https://pubs.opengroup.org/onlinepubs/9799919799/utilities/V3_chap02.html
"""

from __future__ import annotations

import itertools
import os
import re
from collections.abc import Sequence
from typing import NoReturn

from llmctl.core.errors import UsageError
from llmctl.core.values import Value
from llmctl.tools import templates

#: Prefix of the variables that hold the arguments of a command for the shell.
VARIABLE_PREFIX = "LLMCTL_ARGUMENT_"


class Slot(Value):
    """A place for an argument; ``number`` counts the slots of a line from 0."""

    name: str
    number: int


#: The arguments that are passed as flags.
_FLAGS = Slot("arguments", -1)

#: A word of a command line: literal text and slots, quotes removed.
Word = tuple[str | Slot, ...]

_ASSIGNMENT = re.compile(r"[A-Za-z_][A-Za-z0-9_]*=")


def _words(text: str) -> frozenset[str]:
    return frozenset(text.split())


#: Words that may stand before the program of a command.
_RESERVED = _words("if then elif else while until do ! { time")
#: Programs that run another program, and the number of operands before it.
_WRAPPERS = dict.fromkeys(_words("env sudo doas nohup nice ionice exec command builtin xargs setsid stdbuf time"), 0)
_WRAPPERS |= {"timeout": 1, "chroot": 1}
#: Programs and commands that execute or evaluate their arguments.
_EVALUATORS = _words("eval trap . source let [[ alias export declare typeset readonly local read unset watch")
_INTERPRETERS = _words(
    "sh bash dash ash zsh ksh mksh fish csh tcsh su runuser"
    " python perl ruby node nodejs deno bun php lua julia Rscript osascript"
)
#: Options of interpreters whose value is code.
_CODE_OPTION = re.compile(r"-[A-Za-z]*[ceE]|--(eval|exec|command|expression|execute|print)|-p|-r")
#: Programs whose first operand is code that can start programs, and their options with a value.
_SCRIPT_OPERANDS = {name: _words("-v -F -f") for name in ("awk", "gawk", "mawk", "nawk")}
_SCRIPT_OPERANDS |= {name: _words("-e -f") for name in ("sed", "gsed")}
#: Options of ssh with a value: https://man.openbsd.org/ssh
_SSH_VALUE_OPTIONS = frozenset("-" + letter for letter in "BbcDEeFIiJLlmOoPpQRSWw")
#: Options of other programs whose value is code, or is evaluated.
_CODE_OPTIONS = {"find": _words("-exec -execdir -ok -okdir"), "git": _words("-c")}
_CODE_OPTIONS |= {name: _words("-v") for name in ("test", "[", "printf")}

_HINT = "pass it as a word of its own: sh -c 'grep -- \"$1\" notes.txt' sh {%s}"


class ParsedCommand(Value):
    """A command: its simple commands, and for a shell its script with a variable for each slot."""

    commands: tuple[tuple[Word, ...], ...]
    slots: tuple[Slot, ...] = ()
    script: str | None = None


def parse(command: str | Sequence[str], passing: str) -> ParsedCommand:
    """Parse a command for ``sh``, or an argv.

    ``passing`` is how arguments without a slot are passed: ``stdin``, ``flags`` or ``none``. Raises UsageError if an
    argument would be executed.
    """
    parsed = _parse_script(command) if isinstance(command, str) else ParsedCommand((_parse_words(command),))
    for index, words in enumerate(parsed.commands):
        is_last = index == len(parsed.commands) - 1
        _require_safe(words + ((("--", _FLAGS),) if passing == "flags" and is_last else ()), parsed.script is not None)
        if passing == "stdin" and _reads_code_from_stdin(words):
            raise UsageError(
                f'"{_literal(words[0])}" would execute its arguments', hint="pass no stdin: --arguments none"
            )
    return parsed


def _parse_script(text: str) -> ParsedCommand:
    units = _split_units(text)
    slots = tuple(unit for unit in units if isinstance(unit, Slot))
    scanner = _Scanner(units)
    scanner.read_commands()
    return ParsedCommand(
        tuple(map(tuple, scanner.commands)),
        slots,
        "".join(f'"${VARIABLE_PREFIX}{unit.number}"' if isinstance(unit, Slot) else unit for unit in units),
    )


def _parse_words(words: Sequence[str]) -> tuple[Word, ...]:
    return tuple(_join_units(_split_units(word)) for word in words)


def _require_safe(words: Sequence[Word], is_script: bool) -> None:
    """Raise UsageError if a command would execute an argument: as its program, or as code for an interpreter."""
    words = _strip_prefix(words) if is_script else words
    while words:
        if slot := _find_slot(words[0]):
            raise UsageError(
                f"the program name cannot contain an argument, got {{{slot.name}}}",
                hint="see the built-in tool run_command",
            )
        program, words = os.path.basename(_literal(words[0])), words[1:]
        if program not in _WRAPPERS:
            return _require_data(program, words)
        words = _skip_options(words, _WRAPPERS[program])


def _reads_code_from_stdin(words: Sequence[Word]) -> bool:
    """Whether a command is an interpreter without a script: it would execute what it gets on stdin."""
    words = _strip_prefix(words)
    if not words:
        return False
    program, words = re.sub(r"[\d.]+$", "", os.path.basename(_literal(words[0]))), words[1:]
    if program == "ssh":
        return not _ssh_command(words)
    options = [_literal(word) for word in words if _literal(word).startswith("-")]
    return program in _INTERPRETERS and len(options) == len(words) and not any(map(_CODE_OPTION.match, options))


def _find_slot(word: Word) -> Slot | None:
    return next((piece for piece in word if isinstance(piece, Slot)), None)


def leads_with_slot(word: Word) -> bool:
    """Whether the first character of a word comes from an argument."""
    return bool(word) and isinstance(next((piece for piece in word if piece != ""), None), Slot)


def _strip_prefix(words: Sequence[Word]) -> Sequence[Word]:
    """Return the words from the program on, without reserved words and assignments."""
    for index, word in enumerate(words):
        text = _literal(word)
        if not (text in _RESERVED or (_ASSIGNMENT.match(text) and not leads_with_slot(word))):
            return words[index:]
    return []


def _skip_options(words: Sequence[Word], operands: int) -> Sequence[Word]:
    """Return the words from the program of a wrapper on."""
    for index, word in enumerate(words):
        text = _literal(word)
        if not leads_with_slot(word) and (text.startswith("-") or _ASSIGNMENT.match(text) or text.isdigit()):
            operands -= text.isdigit() and operands > 0
        elif operands:
            operands -= 1
        else:
            return words[index:]
    return []


def _require_data(program: str, words: Sequence[Word]) -> None:
    """Raise UsageError for an argument that this program would execute."""
    base = re.sub(r"[\d.]+$", "", program)
    code: Sequence[Word] = ()
    if program in _EVALUATORS:
        code = words
    elif program == "ssh":
        code = _ssh_command(words)
    elif options := _CODE_OPTIONS.get(program):
        code = [word for before, word in itertools.pairwise(words) if _literal(before) in options]
    elif base in _INTERPRETERS:
        code = _code_options(words)
    elif base in _SCRIPT_OPERANDS:
        code = [*_code_options(words), *_script_operand(words, _SCRIPT_OPERANDS[base])]
    for word in code:
        if slot := _find_slot(word):
            raise UsageError(f'"{program}" would execute the argument {{{slot.name}}}', hint=_HINT % slot.name)


def _code_options(words: Sequence[Word]) -> list[Word]:
    """Return the values of options that take code, attached to the option or in the next word."""
    found: list[Word] = []
    for index, word in enumerate(words):
        text = _literal(word)
        if leads_with_slot(word) or not text.startswith("-"):
            continue
        if _CODE_OPTION.fullmatch(text) and _find_slot(word) is None:
            found += words[index + 1 : index + 2]
        elif _CODE_OPTION.match(text):
            found.append(word)
    return found


def _script_operand(words: Sequence[Word], value_options: frozenset[str]) -> Sequence[Word]:
    """Return the first operand, unless an option names the script."""
    is_value = False
    for word in words:
        text = _literal(word)
        if is_value:
            is_value = False
        elif leads_with_slot(word) or not text.startswith("-"):
            return [word]
        elif text in ("-e", "-f") or text.startswith(("--expression", "--file")):
            return []
        else:
            is_value = text in value_options
    return []


def _ssh_command(words: Sequence[Word]) -> Sequence[Word]:
    """Return the words after the destination: the other host's shell reads them."""
    is_value = False
    for index, word in enumerate(words):
        text = _literal(word)
        if is_value:
            is_value = False
        elif leads_with_slot(word) or not text.startswith("-"):
            return words[index + 1 :]
        else:
            is_value = text in _SSH_VALUE_OPTIONS
    return []


def _literal(word: Word) -> str:
    return "".join(piece for piece in word if isinstance(piece, str))


def _split_units(text: str) -> list[str | Slot]:
    """Return single characters and slots; ``{{`` and ``}}`` are one brace."""
    units: list[str | Slot] = []
    at = number = 0
    for match in templates.SLOT.finditer(text):
        units += text[at : match.start()]
        units.append(Slot(match[1], number) if match[1] else match[0][0])
        number += bool(match[1])
        at = match.end()
    return units + list(text[at:])


def _join_units(units: Sequence[str | Slot]) -> Word:
    pieces: list[str | Slot] = []
    for unit in units:
        if isinstance(unit, str) and pieces and isinstance(pieces[-1], str):
            pieces[-1] += unit
        else:
            pieces.append(unit)
    return tuple(pieces)


class _Scanner:
    """Reads a shell command and refuses each slot that is not a plain part of a word."""

    def __init__(self, units: Sequence[str | Slot]) -> None:
        self._units = units
        self._at = 0
        self.commands: list[list[Word]] = []
        self._words: list[Word] = []
        self._word: list[str | Slot] | None = None
        self._is_target = False
        self._has_here_document = False

    def read_commands(self, end: str = "") -> None:
        """Read commands up to an unquoted ``end``, or to the end of the text."""
        outer, self._words, self._word = (self._words, self._word), [], None
        while self._at < len(self._units):
            unit = self._units[self._at]
            self._at += 1
            if isinstance(unit, Slot):
                self._add(unit)
            elif end and unit == end:
                break
            else:
                self._read_plain(unit)
        else:
            if end:
                self._fail_unterminated(end)
        self._end_command()
        self._words, self._word = outer

    def _read_plain(self, char: str) -> None:
        if char in " \t":
            self._end_word()
        elif char in ";&|\n()":
            self._read_separator(char)
        elif char in "<>":
            self._read_redirection(char)
        elif char == "#" and self._word is None:
            while self._at < len(self._units) and self._units[self._at] != "\n":
                self._at += 1
        else:
            self._read_quoted(char, is_double=False)

    def _read_quoted(self, char: str, *, is_double: bool) -> None:
        """Read what is the same in and outside double quotes, from its first character on."""
        if char == "\\":
            if isinstance(following := self._peek(), Slot):
                self._fail(following, "follows a backslash")
            self._add(following or "")
            self._at += 1
        elif char == "`":
            self._read_until("`", "stands in backquotes", escapes=True)
        elif char == "$":
            self._read_dollar()
        elif char == "'" and not is_double:
            self._read_until("'", "stands in quotes", escapes=False)
        elif char == '"':
            self._read_double_quotes()
        else:
            self._add(char)

    def _read_double_quotes(self) -> None:
        self._add("")
        while (unit := self._next('"')) != '"':
            if isinstance(unit, Slot):
                self._fail(unit, "stands in quotes")
            self._read_quoted(unit, is_double=True)

    def _read_dollar(self) -> None:
        following = self._peek()
        self._add("$")
        if isinstance(following, Slot):
            hint = f"write ${{{{{following.name}}}}} for a variable of the shell, {{{following.name}}} for an argument"
            raise UsageError(f"the argument {{{following.name}}} follows a dollar sign", hint=hint)
        if following == "'":  # read differently by different shells
            self._at += 1
            self._refuse_rest("follows a string in $'...'")
        elif following == "{":
            self._at += 1
            self._read_expansion()
        elif following == "(":
            self._at += 1
            if self._peek() == "(":
                self._read_until(")", "stands in an arithmetic expression", escapes=False, depth=1)
            else:
                self.read_commands(")")

    def _read_expansion(self) -> None:
        while (unit := self._next("}")) != "}":
            if isinstance(unit, Slot):
                self._fail(unit, "stands in the expansion of a variable")
            self._read_quoted(unit, is_double=False)

    def _read_separator(self, char: str) -> None:
        if char == "(":
            self._end_word()
            if self._peek() == "(":
                self._read_until(")", "stands in an arithmetic expression", escapes=False, depth=1)
            else:
                self.read_commands(")")
            return
        self._end_command()
        if char == "\n" and self._has_here_document:
            self._refuse_rest("stands in a here-document")

    def _read_redirection(self, char: str) -> None:
        if self._word is not None and "".join(map(str, self._word)).isdigit():
            self._word = None  # the number of a file descriptor
        self._end_word()
        operator = char
        while isinstance(following := self._peek(), str) and following in "<>&|-" and len(operator) < 3:
            operator += following
            self._at += 1
        self._has_here_document |= operator.startswith("<<") and operator != "<<<"
        self._is_target = True

    def _read_until(self, end: str, place: str, *, escapes: bool, depth: int = 0) -> None:
        """Skip to ``end``; with a depth, to the end that closes all parentheses."""
        self._add("")
        while True:
            unit = self._next(end)
            if isinstance(unit, Slot):
                self._fail(unit, place)
            if escapes and unit == "\\":
                self._at += 1
            elif unit == "(" and depth:
                depth += 1
            elif unit == end:
                depth -= 1
                if depth <= 0:
                    return
            else:
                self._add(unit)

    def _refuse_rest(self, place: str) -> None:
        for unit in self._units[self._at :]:
            if isinstance(unit, Slot):
                self._fail(unit, place)
        self._at = len(self._units)

    def _next(self, end: str) -> str | Slot:
        if self._at >= len(self._units):
            self._fail_unterminated(end)
        self._at += 1
        return self._units[self._at - 1]

    def _peek(self) -> str | Slot | None:
        return self._units[self._at] if self._at < len(self._units) else None

    def _add(self, unit: str | Slot) -> None:
        self._word = [*(self._word or ()), unit]

    def _end_word(self) -> None:
        if self._word is not None and not self._is_target:
            self._words.append(_join_units(self._word))
        self._is_target &= self._word is None
        self._word = None

    def _end_command(self) -> None:
        self._end_word()
        self._is_target = False
        if self._words:
            self.commands.append(self._words)
            self._words = []

    def _fail(self, slot: Slot, place: str) -> NoReturn:
        raise UsageError(
            f"the argument {{{slot.name}}} {place}, where it could be executed",
            hint=f"end the quotes before it: --command 'echo \"Hello, \"{{{slot.name}}}'",
        )

    def _fail_unterminated(self, end: str) -> NoReturn:
        raise UsageError(f'the command has no closing "{end}"', hint="check its quotes")
