"""Anthropic's Messages API, and the hosts that copy it.

Source: https://platform.claude.com/docs/en/api/messages, and recorded traffic.
"""

from llmctl.core.registry import LazyFunction
from llmctl.wire import Wire
from llmctl.wire.anthropic.events import parse_response, parse_stream
from llmctl.wire.anthropic.request import TOOL_NAMES, accepts, build_models_request, build_request

WIRE = Wire(
    name="anthropic",
    build_request=build_request,
    parse_response=parse_response,
    parse_stream=parse_stream,
    parse_error=LazyFunction("llmctl.wire.anthropic.errors:parse_error"),
    build_models_request=build_models_request,
    parse_models=LazyFunction("llmctl.wire.openai_models:parse_models"),
    accepts=accepts,
    tool_names=TOOL_NAMES,
)
