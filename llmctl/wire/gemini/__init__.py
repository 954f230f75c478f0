"""Google's generateContent, as AI Studio and Vertex AI speak it.

Sources: https://ai.google.dev/api/generate-content,
https://docs.cloud.google.com/vertex-ai/generative-ai/docs/reference/rest, and what recorded traffic shows.
"""

from llmctl.wire import Embeddings, Images, Wire, later
from llmctl.wire.gemini.files import accepts
from llmctl.wire.gemini.models import build_models_request, parse_models
from llmctl.wire.gemini.request import build_request
from llmctl.wire.gemini.response import parse_response
from llmctl.wire.gemini.stream import parse_stream
from llmctl.wire.refusals import parse_error

#: https://ai.google.dev/gemini-api/docs/rate-limits; Vertex AI takes one at a time of its newer models.
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
        later("gemini.embeddings", "build_embed_request"),
        later("gemini.embeddings", "parse_vectors"),
        most_texts=_MOST_TEXTS,
    ),
    images=Images(later("gemini.images", "build_image_request"), later("gemini.images", "parse_images")),
)
