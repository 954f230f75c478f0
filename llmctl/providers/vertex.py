"""Google's Vertex AI: Gemini models in the user's project and location, with an access token.

    llmctl connection add vertex --key-command "gcloud auth print-access-token" --base-url \\
      https://aiplatform.googleapis.com/v1beta1/projects/PROJECT/locations/global
"""

from __future__ import annotations

from llmctl.core.dialect import Dialect
from llmctl.providers import Provider

PROVIDER = Provider(
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
