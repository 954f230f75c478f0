"""Hosts compatible with OpenAI's Chat Completions: one entry each, with only their deviations.

The deviations are from recorded traffic or the hosts' own documentation.
"""

from __future__ import annotations

from typing import Any

from llmctl.core.http import Dialect
from llmctl.providers import ModelWire, Provider
from llmctl.providers.openai import OPENAI_FILES, OPENAI_IDS


def _provider(
    name: str, base_url: str, model: str | None = None, *, keys: str = "", bases: str = "", **more: Any
) -> Provider:
    """Return a provider with the variables NAME_API_KEY and NAME_API_BASE, then the additional ones."""
    return Provider(
        name=name,
        base_url=base_url,
        key_env=(f"{name.upper()}_API_KEY", *keys.split()),
        base_env=(f"{name.upper()}_API_BASE", *bases.split()),
        default_model=model,
        **more,
    )


def _local_server(name: str, port: int, *, keys: str = "", bases: str = "", **more: Any) -> Provider:
    """Return a server on this machine that answers below /v1; its models are not known in advance."""
    base_url = f"http://localhost:{port}/v1"
    return _provider(name, base_url, keys=keys, bases=bases, local=True, root_path="/v1", **more)


OPENROUTER = _provider(
    "openrouter",
    "https://openrouter.ai/api/v1",
    "openai/gpt-5.6-luna",
    dialect=Dialect(thinking_field="reasoning", thinking_replay_field="reasoning_details"),
    router=True,
    embedding_model="openai/text-embedding-3-small",
    nodellm_id="openrouter",
    docs="https://openrouter.ai/docs/api-reference/overview",
)

DEEPSEEK = _provider(
    "deepseek",
    "https://api.deepseek.com",
    "deepseek-flash",
    # A tool call that followed thinking is rejected without that thinking.
    dialect=Dialect(
        thinking_field="thinking", thinking_replay_field="reasoning_content", schema_mode="json_object", files=()
    ),
    nodellm_id="deepseek",
    docs="https://api-docs.deepseek.com",
)

MISTRAL = _provider(
    "mistral",
    "https://api.mistral.ai/v1",
    "mistral-small-latest",
    batches="mistral",
    # Usage is always sent; unknown fields and call ids in another format are rejected.
    dialect=Dialect(
        stream_usage=False,
        tool_call_ids="[a-zA-Z0-9]{9}",
        files=("image/", "audio/", "application/pdf"),
        document_part="document_url",
    ),
    embedding_model="mistral-embed",
    nodellm_id="mistral",
    docs="https://docs.mistral.ai/api",
)

XAI = _provider(
    "xai",
    "https://api.x.ai/v1",
    "grok-4.3",
    batches="xai",
    dialect=Dialect(thinking_on_top=True, image_edits="json", files=("image/",)),
    image_model="grok-imagine-image",
    nodellm_id="xai",
    docs="https://docs.x.ai/docs/api-reference",
)

GROQ = _provider(
    "groq",
    "https://api.groq.com/openai/v1",
    "openai/gpt-oss-120b",
    batches="openai",
    dialect=Dialect(stream_usage=False, files=("image/",)),
    docs="https://console.groq.com/docs/openai",
)

TOGETHER = _provider(
    "together",
    "https://api.together.xyz/v1",
    "openai/gpt-oss-120b",
    batches="together",
    keys="TOGETHERAI_API_KEY",
    hosts=("api.together.ai",),
    docs="https://docs.together.ai/docs/openai-api-compatibility",
)

FIREWORKS = _provider(
    "fireworks",
    "https://api.fireworks.ai/inference/v1",
    "accounts/fireworks/models/gpt-oss-120b",
    keys="FIREWORKS_AI_API_KEY",
    dialect=Dialect(thinking_replay_field="reasoning_content"),
    docs="https://docs.fireworks.ai/tools-sdks/openai-compatibility",
)

PERPLEXITY = _provider(
    "perplexity",
    "https://api.perplexity.ai",
    "sonar",
    keys="PPLX_API_KEY",
    dialect=Dialect(
        done_marker=False,
        embeddings_path="/v1/embeddings",
        models_path="/v1/models",
        files=("image/", "application/pdf"),
        document_part="file_url",
    ),
    embedding_model="pplx-embed-v1-0.6b",
    docs="https://docs.perplexity.ai/api-reference",
)

CEREBRAS = _provider(
    "cerebras",
    "https://api.cerebras.ai/v1",
    "gpt-oss-120b",
    dialect=Dialect(files=()),
    docs="https://inference-docs.cerebras.ai/api-reference/chat-completions",
)

ZAI = _provider(
    "zai",
    "https://api.z.ai/api/paas/v4",
    "glm-5.3-flash",
    keys="Z_AI_API_KEY",
    dialect=Dialect(thinking_field="thinking", thinking_replay_field="reasoning_content", schema_mode="json_object"),
    docs="https://docs.z.ai/api-reference",
)

AZURE = _provider(
    "azure",
    # Every resource has its own URL; the model is the name of a deployment. For the older API use a base URL with
    # path and query, such as https://NAME.services.ai.azure.com/models?api-version=2024-05-01-preview
    "",
    batches="openai",
    keys="AZURE_OPENAI_API_KEY",
    bases="AZURE_OPENAI_API_BASE AZURE_OPENAI_ENDPOINT",
    auth="api-key",
    hosts=(".openai.azure.com", ".services.ai.azure.com", ".cognitiveservices.azure.com"),
    root_path="/openai/v1",
    dialect=Dialect(max_tokens_field="max_completion_tokens", tool_call_ids=OPENAI_IDS, files=OPENAI_FILES),
    docs="https://learn.microsoft.com/azure/foundry/openai/api-version-lifecycle",
)

_BEDROCK_REGIONS = (
    *("us-east-1", "us-east-2", "us-west-1", "us-west-2", "ca-central-1", "sa-east-1"),
    *("eu-central-1", "eu-north-1", "eu-south-1", "eu-west-1", "eu-west-2", "eu-west-3"),
    *("ap-northeast-1", "ap-northeast-2", "ap-south-1", "ap-southeast-1", "ap-southeast-2"),
)
BEDROCK = _provider(
    "bedrock",
    # Every region has its own URL. This is its OpenAI-compatible API, with an API key of Bedrock.
    "",
    keys="AWS_BEARER_TOKEN_BEDROCK",
    base_example="https://bedrock-runtime.us-east-1.amazonaws.com",
    # Not all of .amazonaws.com: anybody can have a server there.
    hosts=tuple(f"bedrock-runtime.{region}.amazonaws.com" for region in _BEDROCK_REGIONS),
    root_path="/openai/v1",
    docs="https://docs.aws.amazon.com/bedrock/latest/userguide/inference-chat-completions.html",
)

HUGGINGFACE = _provider(
    "huggingface",
    "https://router.huggingface.co/v1",
    "openai/gpt-oss-120b",
    keys="HF_TOKEN",
    router=True,
    # Many hosts answer behind the router; some do not know the field, all send usage by default.
    dialect=Dialect(stream_usage=False),
    docs="https://huggingface.co/docs/inference-providers",
)

OLLAMA = _local_server(
    "ollama",
    11434,
    hosts=("ollama.com",),
    # On its default port (or with --wire ollama) its own API is used: the OpenAI-compatible one ignores model options
    # (num_ctx) and silently drops the start of a long prompt.
    model_wires=(ModelWire("*", "ollama"),),
    dialect=Dialect(thinking_replay_field="reasoning"),
    embedding_model="nomic-embed-text",
    nodellm_id="ollama",
    docs="https://docs.ollama.com/api",
)

LMSTUDIO = _local_server(
    "lmstudio",
    1234,
    keys="LM_API_TOKEN",
    bases="LM_STUDIO_API_BASE",
    docs="https://lmstudio.ai/docs/developer/openai-compat",
)

LLAMACPP = _local_server(
    "llamacpp",
    8080,
    keys="LLAMA_API_KEY",
    docs="https://github.com/ggml-org/llama.cpp/tree/master/tools/server",
)

VLLM = _local_server("vllm", 8000, docs="https://docs.vllm.ai/en/latest/serving/openai_compatible_server.html")

GPUSTACK = _local_server(
    "gpustack",
    80,
    dialect=Dialect(done_marker=False, thinking_field="enable_thinking", thinking_replay_field="reasoning_content"),
    docs="https://docs.gpustack.ai",
)

#: Any host given by --base-url. A stream may end with either a finish reason or the marker.
COMPATIBLE = Provider(
    name="compatible",
    base_url="",
    batches="openai",
    dialect=Dialect(done_marker=False, finish_reason_optional=True),
)
