"""Going on with a turn that stopped at a permission, from another command than ``chat``."""

from __future__ import annotations

from llmctl.cli.app import App
from llmctl.cli.turn.flags import defaults


def go_on(app: App, chat_id: str, *, detach: bool = False) -> None:
    """Finish the unfinished turn of a chat, as ``llmctl chat --chat REF`` does; ``detach``: in a job of its own."""
    if detach:
        from llmctl.cli import working

        words = [*working.SELF, "--db", app.hub_path, "chat", "--chat", chat_id, "--no-stdin"]
        working.detach(app, working.work_of(app, words, "chat"))
        return
    app.asking = {**defaults(), "stdin": False}
    app.converse(chat=chat_id)
