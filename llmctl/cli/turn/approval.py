"""Ask the user on the terminal whether a tool may run, even if stdin is redirected."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from threading import Lock
from typing import TYPE_CHECKING

from llmctl.cli.console.prompts import ask_line
from llmctl.cli.console.terminal import safe_text
from llmctl.core.errors import DeniedError

if TYPE_CHECKING:
    from llmctl.cli.console.console import Console
    from llmctl.engine.runtime import ApprovalReply, ApprovalRequest

_REPLIES: dict[str, ApprovalReply] = {
    "A": "everywhere",
    "everywhere": "everywhere",
    "y": "once",
    "yes": "once",
    "once": "once",
    "a": "always",
    "always": "always",
    "n": "no",
    "no": "no",
    "v": "never",
    "never": "never",
    "q": "stop",
    "quit": "stop",
}
_PROMPT = "Run it? [y]es once, [a]lways {scope}, [A]lways everywhere, [n]o, ne[v]er {scope}, [q]uit: "


def build_approval_prompt(console: Console) -> Callable[[ApprovalRequest], ApprovalReply] | None:
    """Return a function that asks the user; None without a terminal for stderr or for reading."""
    if not console.io.stderr_tty:
        return None
    lock = Lock()  # sub-agents run in parallel threads

    def prompt(request: ApprovalRequest) -> ApprovalReply:
        with lock:
            return _prompt_until_answered(console, request)

    with suppress(OSError), open("/dev/tty"):
        return prompt
    return None


def _prompt_until_answered(console: Console, request: ApprovalRequest) -> ApprovalReply:
    """Show the whole call and what it runs, and ask until there is a valid reply; end of input ends the run."""
    who = f'agent "{request.agent}"' if request.agent else "the model"
    console.io.flush()
    console.write_stderr_line(
        f'{who} wants to run "{request.name}"' + (f" ({request.description})" if request.description else "")
    )
    console.io.write_stderr(f"  {safe_text(request.arguments)}\n")
    if request.use:
        console.write_stderr_line(f"  it came with a file and is not trusted yet: {request.use}")
    if request.command:
        console.io.write_stderr(f"  $ {safe_text(request.command)}\n")
    while True:
        answer = ask_line(console, _PROMPT.format(scope=request.scope))
        if not answer:  # end of input: no answer is no permission
            raise DeniedError(
                "tool call not approved", hint="it is still pending: llmctl tool pending", reason="stopped"
            )
        word = answer.strip()
        reply = _REPLIES.get(word) or _REPLIES.get(word.lower())
        if reply:
            return reply
