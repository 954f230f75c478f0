"""Google's generateContent, as AI Studio and Vertex AI implement it.

Sources: https://ai.google.dev/api/generate-content,
https://docs.cloud.google.com/vertex-ai/generative-ai/docs/reference/rest, and recorded traffic.
"""

from llmctl.wire import Embeddings, Images, Wire, lazy_function
from llmctl.wire.errors import parse_error
from llmctl.wire.gemini.events import parse_response, parse_stream
from llmctl.wire.gemini.messages import accepts
from llmctl.wire.gemini.models import build_models_request, parse_models
from llmctl.wire.gemini.request import build_request

#: https://ai.google.dev/gemini-api/docs/rate-limits; Vertex AI accepts one at a time for its newer models.
_MOST_TEXTS = 100

WIRE = Wire(
    name="gemini",
    build_request=build_request,
    parse_response=parse_response,
    parse_stream=parse_stream,
    parse_error=parse_error,
    build_models_request=build_models_request,
    parse_models=parse_models,
    accepts=accepts,
    embeddings=Embeddings(
        lazy_function("gemini.embeddings", "build_embed_request"),
        lazy_function("gemini.embeddings", "parse_embed_response"),
        most_texts=_MOST_TEXTS,
    ),
    images=Images(
        lazy_function("gemini.images", "build_image_request"), lazy_function("gemini.images", "parse_image_response")
    ),
)
