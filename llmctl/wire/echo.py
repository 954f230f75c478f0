"""The wire of the built-in ``echo`` provider: Chat Completions, served inside this process."""

from __future__ import annotations

from dataclasses import replace

from llmctl.wire.openai_chat import WIRE as _OPENAI_CHAT

WIRE = replace(_OPENAI_CHAT, name="echo")
