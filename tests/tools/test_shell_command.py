"""Commands of tools: no argument of a model is ever read as code, whatever quotes it holds."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path
from typing import Any, cast

import pytest

from llmctl.core.errors import InvalidOutputError, LlmctlError, UsageError
from llmctl.core.tools import Ran, Tool
from llmctl.tools import Context, command

INJECTIONS = [
    "$(touch PWNED)",
    "`touch PWNED`",
    "; touch PWNED",
    "\ntouch PWNED\n",
    "' ; touch PWNED ; '",
    '" ; touch PWNED ; "',
    "'\"$(touch PWNED)\"'",
    "\\'; touch PWNED; \\'",
    "a[$(touch PWNED)]",
    "x) touch PWNED;; esac; touch PWNED",
    "E\ntouch PWNED\n",
    "& touch PWNED & | > < * ? [a] ~ {{x}} # !!",
    "${IFS}$IFS$(touch${IFS}PWNED)",
]

#: Places where an argument is one word, whatever it holds.
SAFE = [
    "printf %s {x}",
    'printf %s "<"{x}">"',
    'y=$(printf %s {x}); printf %s "$y"',
    'printf %s "$(printf %s {x})"',
    "if test -n {x}; then printf %s {x}; fi",
    "case {x} in *) printf %s {x};; esac",
    'X={x}; printf %s "$X"',
    "f() {{ printf %s {x}; }}; set -- a b; f",
    "# don't {x}\nprintf %s {x}",
    "(cd / && printf %s {x}) 2>&1",
    "sh -c 'printf %s \"$1\"' sh {x}",
    "env A=1 printf %s {x}",
    'awk \'BEGIN {{ printf "%s", ENVIRON["V"] }}\'; printf %s {x}',
    "cat <<E >/dev/null; printf %s {x}\ntext\nE",
]

#: Places where it would be code, with or without --shell.
UNSAFE = [
    'echo "hello {x}"',
    "echo 'hello {x}'",
    "echo `cat {x}`",
    'echo "$(cat "{x}")"',
    "cat <<E\n{x}\nE",
    "cat <<'E'\n{x}\nE",
    "echo $(( {x} ))",
    'echo "$(( 1 + {x} ))"',
    "echo ${{Y:-{x}}}",
    "echo ${x}",
    "echo \\{x}",
    "echo $'it\\'s {x}'",
    'sh -c "echo {x}"',
    "sh -c 'echo {x}'",
    "bash -lc {x}",
    "env A=1 sh -c {x}",
    "eval {x}",
    "eval echo {x}",
    "true; {x}",
    "ls | xargs {x}",
    "timeout 5 {x}",
    "python3 -c 'print({x})'",
    "perl -e{x}",
    "node --eval={x}",
    "awk {x} file",
    "sed -e s/a/{x}/ file",
    "sed s/a/{x}/ file",
    "find . -exec {x} +",
    "git -c {x} log",
    "ssh host ls {x}",
    "[[ {x} -eq 1 ]]",
    "trap {x} EXIT",
    'echo "open {x}',
]


def run(data: dict[str, Any], arguments: dict[str, Any], folder: Path) -> Ran:
    context = Context({"PATH": "/usr/bin:/bin", "V": "v"}, str(folder), cast(Any, None))
    return command.run(Tool("t", "command", data=data), arguments, context)


@pytest.mark.parametrize("template", SAFE)
def test_shell_command_passes_an_argument_unread(template: str, tmp_path: Path) -> None:
    data = command.validate_data({"command": template, "shell": True})
    for text in INJECTIONS:
        ran = run(data, {"x": text}, tmp_path)
        assert text.strip("\n") in ran.content, (template, text, ran)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("template", UNSAFE)
def test_slot_where_an_argument_would_be_executed_is_refused(template: str, tmp_path: Path) -> None:
    data = {"command": template, "shell": True}
    with pytest.raises(UsageError) as refused:
        command.validate_data(data)
    assert "{x}" in refused.value.message or "quotes" in str(refused.value.hint)
    for text in INJECTIONS:  # a tool that is stored already
        with pytest.raises(LlmctlError):
            run(data, {"x": text}, tmp_path)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    "template",
    ["sh -c 'echo {x}'", "bash -ec {x}", "env sh -c {x}", "python3 -c 'print(\"{x}\")'", "eval {x}", "xargs {x}"],
)
def test_argv_with_code_for_an_interpreter_is_refused(template: str) -> None:
    with pytest.raises(UsageError, match="argument"):
        command.validate_data({"command": template})


@pytest.mark.parametrize(
    "template",
    ["sh -c 'echo \"$1\"' sh {x}", "git log {x}", "python3 script.py {x}", "grep -e {x} file", "wc -c {x}"],
)
def test_argv_with_arguments_of_a_program_is_taken(template: str) -> None:
    assert command.validate_data({"command": template, "shell": False})
    assert command.validate_data({"command": template, "shell": True})


@pytest.mark.parametrize("line", ["sh", "bash -s", "python3", "true | sh", "ssh host"])
@pytest.mark.parametrize("shell", [False, True])
def test_interpreter_that_reads_its_arguments_as_code_is_refused(line: str, shell: bool) -> None:
    if "|" in line and not shell:
        pytest.skip("no shell, no pipe")
    with pytest.raises(UsageError, match="would execute its arguments"):
        command.validate_data({"command": line, "shell": shell})
    assert command.validate_data({"command": line, "shell": shell, "arguments": "none"})


@pytest.mark.parametrize("line", ["eval", "ssh host ls", "sh -c"])
def test_flags_for_a_program_that_executes_them_are_refused(line: str) -> None:
    for shell in (False, True):
        with pytest.raises(UsageError, match="would execute the argument"):
            command.validate_data({"command": line, "shell": shell, "arguments": "flags"})


def test_flags_of_a_shell_command_are_words(tmp_path: Path) -> None:
    data = command.validate_data({"command": "printf '<%s>'", "shell": True, "arguments": "flags"})
    for text in INJECTIONS:
        assert run(data, {"x": text}, tmp_path).content == f"<--x={text}>"
    assert list(tmp_path.iterdir()) == []


def test_shell_argument_becomes_no_flag(tmp_path: Path) -> None:
    data = command.validate_data({"command": "printf %s {x}{y}", "shell": True})
    for arguments in ({"x": "--help"}, {"x": "", "y": "-v"}):
        with pytest.raises(InvalidOutputError, match="must not begin with"):
            run(data, arguments, tmp_path)
    assert run(data, {"x": -1.5}, tmp_path).content == "-1.5"
    after = command.validate_data({"command": "printf %s -- {x}", "shell": True})
    assert run(after, {"x": "-v"}, tmp_path).content == "---v"


def test_nul_byte_in_an_argument_is_refused(tmp_path: Path) -> None:
    for shell in (False, True):
        data = command.validate_data({"command": "echo {x}", "shell": shell})
        with pytest.raises(InvalidOutputError, match="NUL"):
            run(data, {"x": "a\0b"}, tmp_path)


def test_hint_of_a_refused_slot_is_a_working_spelling(tmp_path: Path) -> None:
    with pytest.raises(UsageError) as refused:
        command.validate_data({"command": 'echo "Hello, {x}"', "shell": True})
    flag, _, text = str(refused.value.hint).partition(": ")[2].partition(" ")
    line = subprocess.run(["sh", "-c", f"printf %s {text}"], capture_output=True, text=True, check=True).stdout
    assert flag == "--command"
    assert run(command.validate_data({"command": line, "shell": True}), {"x": "$(id)"}, tmp_path).content == (
        "Hello, $(id)"
    )


def test_many_arguments_are_passed_in_order(tmp_path: Path) -> None:
    data = command.validate_data({"command": "printf '%s|' " + " ".join(f"{{a{i}}}" for i in range(12)), "shell": True})
    arguments = {f"a{number}": [number, "$(id)"] for number in range(12)}
    expected = "".join(json.dumps(value, separators=(",", ":")) + "|" for value in arguments.values())
    assert run(data, arguments, tmp_path).content == expected
