"""The topics of ``llmctl help``."""

from __future__ import annotations


def text(topic: str) -> str:
    """Return the text of a topic of :data:`llmctl.cli.helptext.TOPICS`."""
    return topic + "\n"
