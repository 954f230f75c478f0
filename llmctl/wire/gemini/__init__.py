"""Google's generateContent, as AI Studio and Vertex AI implement it.

Sources: https://ai.google.dev/api/generate-content,
https://docs.cloud.google.com/vertex-ai/generative-ai/docs/reference/rest, and recorded traffic.
"""

from llmctl.core.registry import LazyFunction
from llmctl.wire import Embeddings, Images, Wire
from llmctl.wire.gemini.events import parse_response, parse_stream
from llmctl.wire.gemini.request import TOOL_NAMES, accepts, build_request

#: https://ai.google.dev/gemini-api/docs/rate-limits; Vertex AI accepts one at a time for its newer models.
_MOST_TEXTS = 100

WIRE = Wire(
    name="gemini",
    build_request=build_request,
    parse_response=parse_response,
    parse_stream=parse_stream,
    parse_error=LazyFunction("llmctl.wire.errors:parse_error"),
    build_models_request=LazyFunction("llmctl.wire.gemini.models:build_models_request"),
    parse_models=LazyFunction("llmctl.wire.gemini.models:parse_models"),
    accepts=accepts,
    tool_names=TOOL_NAMES,
    embeddings=Embeddings(
        LazyFunction("llmctl.wire.gemini.embeddings:build_embed_request"),
        LazyFunction("llmctl.wire.gemini.embeddings:parse_embed_response"),
        most_texts=_MOST_TEXTS,
    ),
    images=Images(
        LazyFunction("llmctl.wire.gemini.images:build_image_request"),
        LazyFunction("llmctl.wire.gemini.images:parse_image_response"),
    ),
)
