"""Google's Gemini API (AI Studio), with a key."""

from __future__ import annotations

from llmctl.core.dialect import Dialect
from llmctl.providers import Provider

PROVIDER = Provider(
    name="gemini",
    base_url="https://generativelanguage.googleapis.com/v1beta",
    wire="gemini",
    auth="x-goog-api-key",
    auth_by_wire={"openai-chat": "bearer"},
    key_env=("GEMINI_API_KEY", "GOOGLE_API_KEY"),
    base_env=("GEMINI_API_BASE", "GOOGLE_GEMINI_BASE_URL"),
    # For Google's copy of Chat Completions: --wire openai-chat --base-url …/v1beta/openai
    dialect=Dialect(thinking_on_top=True, thinking_replay_field="extra_content"),
    default_model="gemini-3.8-flash",
    embedding_model="gemini-embedding-001",
    image_model="gemini-2.5-flash-image",
    nodellm_id="gemini",
    docs="https://ai.google.dev/api",
)
