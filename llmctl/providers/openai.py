"""OpenAI, the inventor of the wire that the compatible hosts copy."""

from __future__ import annotations

from llmctl.core.dialect import Dialect
from llmctl.providers import Provider

PROVIDER = Provider(
    name="openai",
    base_url="https://api.openai.com/v1",
    key_env=("OPENAI_API_KEY",),
    base_env=("OPENAI_API_BASE", "OPENAI_BASE_URL"),
    # Reasoning models refuse max_tokens; all others take both. "system" is taken by all, and turned into
    # "developer" where a model wants that.
    dialect=Dialect(max_tokens_field="max_completion_tokens"),
    default_model="gpt-5.6-luna",
    nodellm_id="openai",
    docs="https://platform.openai.com/docs/api-reference/chat",
)
