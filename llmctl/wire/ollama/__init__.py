"""Ollama's own API. Unlike its OpenAI-compatible API it has model options, ``keep_alive`` and control of truncation.

Source: https://docs.ollama.com/api/chat
"""

from llmctl.core.registry import LazyFunction
from llmctl.wire import Embeddings, Wire
from llmctl.wire.ollama.events import parse_response, parse_stream
from llmctl.wire.ollama.request import TOOL_NAMES, accepts, build_request

WIRE = Wire(
    name="ollama",
    build_request=build_request,
    parse_response=parse_response,
    parse_stream=parse_stream,
    parse_error=LazyFunction("llmctl.wire.ollama.errors:parse_error"),
    build_models_request=LazyFunction("llmctl.wire.ollama.models:build_models_request"),
    parse_models=LazyFunction("llmctl.wire.ollama.models:parse_models"),
    framing="ndjson",
    accepts=accepts,
    tool_names=TOOL_NAMES,
    embeddings=Embeddings(
        LazyFunction("llmctl.wire.ollama.embeddings:build_embed_request"),
        LazyFunction("llmctl.wire.ollama.embeddings:parse_embed_response"),
    ),
)
