"""Going on with a turn that stopped at a permission, from another command than ``chat``."""

from __future__ import annotations

from llmctl.cli.app import App
from llmctl.cli.asking_flags import defaults


def go_on(app: App, chat_id: str) -> None:
    """Finish the unfinished turn of a chat, as ``llmctl chat --chat REF`` does without a prompt."""
    app.asking = {**defaults(), "stdin": False}
    app.converse(chat=chat_id)
