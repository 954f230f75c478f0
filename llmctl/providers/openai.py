"""OpenAI, the inventor of the wire that the compatible hosts copy."""

from __future__ import annotations

from llmctl.core.dialect import Dialect
from llmctl.providers import ModelWire, Provider

#: Longer ids of calls are refused by Chat Completions.
OPENAI_IDS = r"(?s).{1,40}"
#: https://platform.openai.com/docs/guides/images-vision, https://platform.openai.com/docs/guides/audio
OPENAI_FILES = ("image/png", "image/jpeg", "image/gif", "image/webp", "audio/wav", "audio/mpeg", "application/pdf")
_CHAT, _RESPONSES = "openai-chat", "openai-responses"
#: These exist nowhere else: https://platform.openai.com/docs/models
_ONLY_THERE = ("*-pro", "*-pro-20*", "*codex*", "*deep-research*", "computer-use-preview*")
#: Models that think: Chat Completions neither shows that nor takes it back, and so they think anew after each tool.
_THINKING = ("o1*", "o3*", "o4*", "gpt-5*", "gpt-6*", "gpt-oss*")

PROVIDER = Provider(
    name="openai",
    base_url="https://api.openai.com/v1",
    key_env=("OPENAI_API_KEY",),
    base_env=("OPENAI_API_BASE", "OPENAI_BASE_URL"),
    # Reasoning models refuse max_tokens; all others take both. "system" is taken by all, and turned into
    # "developer" where a model wants that.
    dialect=Dialect(max_tokens_field="max_completion_tokens", tool_call_ids=OPENAI_IDS, files=OPENAI_FILES),
    model_wires=(
        *(ModelWire(models, _CHAT) for models in ("*-search-api*", "*-search-preview*", "*-audio*")),
        *(ModelWire(models, _RESPONSES, only=True) for models in _ONLY_THERE),
        *(ModelWire(models, _RESPONSES) for models in _THINKING),
    ),
    default_model="gpt-5.6-luna",
    embedding_model="text-embedding-3-small",
    image_model="gpt-image-1.5",
    nodellm_id="openai",
    docs="https://platform.openai.com/docs/api-reference/chat",
)
