"""Google: the Gemini API (AI Studio) with a key, and Vertex AI with an access token.

    llmctl connection add vertex --key-command "gcloud auth print-access-token" --base-url \\
      https://aiplatform.googleapis.com/v1beta1/projects/PROJECT/locations/global
"""

from __future__ import annotations

from llmctl.core.http import Dialect
from llmctl.providers import Provider

GEMINI = Provider(
    name="gemini",
    batches="gemini",
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


#: Gemini models in the user's own project and location.
VERTEX = Provider(
    name="vertex",
    # Every project has its own URL.
    base_url="",
    base_example=(
        "https://aiplatform.googleapis.com/v1beta1/projects/PROJECT/locations/global, "
        "or https://REGION-aiplatform.googleapis.com/v1beta1/projects/PROJECT/locations/REGION"
    ),
    wire="gemini",
    key_env=("GOOGLE_OAUTH_ACCESS_TOKEN", "CLOUDSDK_AUTH_ACCESS_TOKEN"),
    base_env=("VERTEX_API_BASE", "GOOGLE_VERTEX_BASE_URL"),
    hosts=(".googleapis.com",),
    dialect=Dialect(
        model_path="/publishers/google/models/{model}",
        embed_operation="predict",
        thinking_on_top=True,
        thinking_replay_field="extra_content",
    ),
    default_model="gemini-3.8-flash",
    embedding_model="gemini-embedding-001",
    image_model="gemini-2.5-flash-image",
    docs="https://docs.cloud.google.com/vertex-ai/generative-ai/docs/reference/rest",
)
