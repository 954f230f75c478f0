"""Asking the person at the terminal whether a tool may run, whatever stdin is. Elsewhere nobody is asked."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from threading import Lock
from typing import TYPE_CHECKING

from llmctl.cli.console.prompts import ask
from llmctl.cli.console.terminal import safe_text
from llmctl.core.errors import DeniedError

if TYPE_CHECKING:
    from llmctl.cli.app import App
    from llmctl.engine.tools.toolset import Question, Reply

_REPLIES: dict[str, Reply] = {
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
_PROMPT = "Run it? [y]es once, [a]lways, [n]o, ne[v]er, [q]uit: "


def asker(app: App) -> Callable[[Question], Reply] | None:
    """Return what asks the person; None where stderr is no terminal or there is none to read from."""
    if not app.io.stderr_tty:
        return None
    one_at_a_time = Lock()  # agents that are asked side by side run in threads

    def answered(question: Question) -> Reply:
        with one_at_a_time:
            return _ask(app, question)

    with suppress(OSError), open("/dev/tty"):
        return answered
    return None


def _ask(app: App, question: Question) -> Reply:
    """Show the whole call and ask until there is an answer. A terminal that is gone ends the run."""
    who = f'the agent "{question.agent}"' if question.agent else "the model"
    app.io.flush()
    app.say_line(
        f'{who} wants to run "{question.name}"' + (f" ({question.description})" if question.description else "")
    )
    app.io.say(f"  {safe_text(question.arguments)}\n")
    while True:
        answer = ask(app, _PROMPT)
        if not answer:  # the end of input, or the return key: no answer is no permission
            raise DeniedError("nobody answered", hint="the call still waits: llmctl tool pending", reason="stopped")
        reply = _REPLIES.get(answer.strip().lower())
        if reply:
            return reply
