"""What of a request's body has to be kept: not what an earlier one carried, nor what is kept elsewhere."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from llmctl.core.messages import File, Message


def already_sent(messages: Sequence[Message]) -> int:
    """Return how many messages the call before this one carried: all before the last answer, and that answer."""
    answers = [index for index, message in enumerate(messages) if message.role == "assistant"]
    return answers[-1] + 1 if answers else 0


def without_files(message: Message) -> Message:
    """Leave out the content of files: it is in ``attachments``."""
    parts = tuple(replace(part, data=b"") if isinstance(part, File) and part.data else part for part in message.parts)
    return replace(message, parts=parts)
