"""Ollama's own API: what its OpenAI door lacks are the options of a model, ``keep_alive``, and a say in truncation.

Source: https://docs.ollama.com/api/chat
"""

from llmctl.wire import Embeddings, Wire, later
from llmctl.wire.ollama.errors import parse_error
from llmctl.wire.ollama.messages import accepts
from llmctl.wire.ollama.models import build_models_request, parse_models
from llmctl.wire.ollama.request import build_request
from llmctl.wire.ollama.stream import parse_response, parse_stream

WIRE = Wire(
    name="ollama",
    build_request=build_request,
    parse_response=parse_response,
    parse_stream=parse_stream,
    parse_error=parse_error,
    build_models_request=build_models_request,
    parse_models=parse_models,
    framing="ndjson",
    accepts=accepts,
    embeddings=Embeddings(
        later("ollama.embeddings", "build_embed_request"), later("ollama.embeddings", "parse_vectors")
    ),
)
