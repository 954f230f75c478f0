"""Anthropic's Messages API, and the hosts that copy it.

Source: https://platform.claude.com/docs/en/api/messages, and recorded traffic.
"""

from llmctl.wire import Wire
from llmctl.wire.anthropic.errors import parse_error
from llmctl.wire.anthropic.events import parse_response, parse_stream
from llmctl.wire.anthropic.messages import accepts
from llmctl.wire.anthropic.models import build_models_request, parse_models
from llmctl.wire.anthropic.request import build_request

WIRE = Wire(
    name="anthropic",
    build_request=build_request,
    parse_response=parse_response,
    parse_stream=parse_stream,
    parse_error=parse_error,
    build_models_request=build_models_request,
    parse_models=parse_models,
    accepts=accepts,
)
