"""Anthropic."""

from __future__ import annotations

from llmctl.core.http import Dialect
from llmctl.providers import Provider

PROVIDER = Provider(
    name="anthropic",
    batches="anthropic",
    base_url="https://api.anthropic.com",
    wire="anthropic",
    auth="x-api-key",
    key_env=("ANTHROPIC_API_KEY",),
    base_env=("ANTHROPIC_API_BASE", "ANTHROPIC_BASE_URL"),
    dialect=Dialect(),
    default_model="claude-sonnet-5-5",
    nodellm_id="anthropic",
    docs="https://platform.claude.com/docs/en/api/overview",
)
