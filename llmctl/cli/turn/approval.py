"""Ask the user on the terminal whether a tool may run, even if stdin is redirected."""

from __future__ import annotations

import json
from contextlib import suppress
from threading import Lock
from typing import TYPE_CHECKING

from llmctl.cli.console.prompts import ask_line, edit_text
from llmctl.cli.console.terminal import safe_text
from llmctl.core.errors import DeniedError, LlmctlError
from llmctl.core.stored_values import decode_arguments

if TYPE_CHECKING:
    from llmctl.cli.console.console import Console
    from llmctl.engine.runtime import ApprovalReply, ApprovalRequest, AskUser, EditedArguments

_REPLIES: dict[str, ApprovalReply] = {
    "y": "once",
    "yes": "once",
    "once": "once",
    "n": "no",
    "no": "no",
    "v": "never",
    "never": "never",
    "q": "stop",
    "quit": "stop",
}
_PROMPT = "Run it? [y]es once, [n]o, [a]lways …, ne[v]er {scope}, [e]dit, [q]uit: "
_SCOPE_PROMPT = "Always [1] {scope} or [2] everywhere? Enter goes back: "


def build_approval_prompt(console: Console) -> AskUser | None:
    """Return a function that asks the user; None without a terminal for stderr or for reading."""
    if not console.io.stderr_tty:
        return None
    lock = Lock()  # sub-agents run in parallel threads

    def prompt(request: ApprovalRequest) -> ApprovalReply | EditedArguments:
        with lock:
            return _prompt_until_answered(console, request)

    with suppress(OSError), open("/dev/tty"):
        return prompt
    return None


def _prompt_until_answered(console: Console, request: ApprovalRequest) -> ApprovalReply | EditedArguments:
    """Show the whole call and what it runs, and ask until there is a valid reply; end of input ends the run."""
    console.io.flush()
    _show_call(console, request)
    while True:
        word = _ask_word(console, _PROMPT.format(scope=safe_text(request.scope)))
        if word in ("e", "edit"):
            return _edit_arguments(console, request)
        reply = _ask_scope(console, request) if word in ("a", "always") else _REPLIES.get(word)
        if reply:
            return reply


def _show_call(console: Console, request: ApprovalRequest) -> None:
    if request.problem:
        console.write_stderr_line(f"  invalid arguments: {request.problem}")
    who = f'agent "{request.agent}"' if request.agent else "the model"
    console.write_stderr_line(
        f'{who} wants to run "{request.name}"' + (f" ({request.description})" if request.description else "")
    )
    console.io.write_stderr(f"  {safe_text(request.arguments)}\n")
    if request.use:
        console.write_stderr_line(f"  it came with a file and is not trusted yet: {request.use}")
    if request.command:
        console.io.write_stderr(f"  $ {safe_text(request.command)}\n")


def _ask_scope(console: Console, request: ApprovalRequest) -> ApprovalReply | None:
    """Ask what ``always`` is to apply to; None to go back."""
    while word := _ask_word(console, _SCOPE_PROMPT.format(scope=safe_text(request.scope))):
        if word in ("1", "2"):
            return "always" if word == "1" else "everywhere"
    return None


def _edit_arguments(console: Console, request: ApprovalRequest) -> EditedArguments:
    """Let the user change the arguments: in ``$VISUAL`` or ``$EDITOR``, or else on a line of the terminal."""
    from llmctl.engine.runtime import EditedArguments

    if console.env.get("VISUAL") or console.env.get("EDITOR"):
        value = decode_arguments(request.arguments)
        text = request.arguments if isinstance(value, str) else json.dumps(value, indent=2, ensure_ascii=False)
        try:
            return EditedArguments(edit_text(console, f"{text}\n", ".json").strip())
        except LlmctlError as error:
            console.write_stderr_line(f"  {error.message}")
    line = ask_line(console, "Arguments as JSON (Enter keeps them): ") or ""
    return EditedArguments(line.strip() or request.arguments)


def _ask_word(console: Console, question: str) -> str:
    answer = ask_line(console, question)
    if not answer:  # end of input: no answer is no permission
        raise DeniedError("tool call not approved", hint="it is still pending: llmctl tool pending", reason="stopped")
    return answer.strip().lower()
