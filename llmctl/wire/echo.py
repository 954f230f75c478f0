"""The wire of the built-in ``echo`` provider: Chat Completions, served inside this process."""

from __future__ import annotations

from llmctl.wire.openai_chat import WIRE as _OPENAI_CHAT

WIRE = _OPENAI_CHAT.replace(name="echo")
