"""OpenAI, whose protocol the compatible hosts copy."""

from __future__ import annotations

from llmctl.core.http import Dialect
from llmctl.providers import ModelWire, Provider

#: Chat Completions rejects longer call ids.
OPENAI_IDS = r"(?s).{1,40}"
#: https://platform.openai.com/docs/guides/images-vision, https://platform.openai.com/docs/guides/audio
OPENAI_FILES = ("image/png", "image/jpeg", "image/gif", "image/webp", "audio/wav", "audio/mpeg", "application/pdf")
_CHAT, _RESPONSES = "openai-chat", "openai-responses"
#: Models that exist only on Responses: https://platform.openai.com/docs/models
_RESPONSES_ONLY = ("*-pro", "*-pro-20*", "*codex*", "*deep-research*", "computer-use-preview*")
#: Models that think: Chat Completions neither returns thinking nor accepts it, so they restart it after each tool.
_THINKING = ("o1*", "o3*", "o4*", "gpt-5*", "gpt-6*", "gpt-oss*")

PROVIDER = Provider(
    name="openai",
    batches="openai",
    base_url="https://api.openai.com/v1",
    key_env=("OPENAI_API_KEY",),
    base_env=("OPENAI_API_BASE", "OPENAI_BASE_URL"),
    # Reasoning models reject max_tokens; all others accept both fields. All accept "system", which the API turns
    # into "developer" if needed.
    dialect=Dialect(max_tokens_field="max_completion_tokens", tool_call_ids=OPENAI_IDS, files=OPENAI_FILES),
    model_wires=(
        *(ModelWire(models, _CHAT) for models in ("*-search-api*", "*-search-preview*", "*-audio*")),
        *(ModelWire(models, _RESPONSES, only=True) for models in _RESPONSES_ONLY),
        *(ModelWire(models, _RESPONSES) for models in _THINKING),
    ),
    default_model="gpt-5.6-luna",
    embedding_model="text-embedding-3-small",
    image_model="gpt-image-1.5",
    nodellm_id="openai",
    docs="https://platform.openai.com/docs/api-reference/chat",
)
