# ruff: noqa: RUF012 (agents are written as people write them)
"""An agent with a tool, as an application defines it, and answers that call the tool."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from llmctl import Agent, tool
from tests.fakes.openai_server import event, stream


@tool
def lookup_order(order_id: str) -> dict[str, str]:
    """Look up the status of an order.

    order_id: number of the order
    """
    return {"order": order_id, "status": "shipped", "eta": "Tomorrow"}


class SupportAgent(Agent):
    """Helps customers."""

    model = "echo"
    instructions = "You are a helpful support agent{% if user is defined %} of {{ user }}{% endif %}."
    tools = [lookup_order]


def calling(*calls: str) -> dict[str, str]:
    """Return the options that let echo call these tools at once."""
    return {"tool": "\n".join(calls)}


def replying(arguments: str, *, id: str = "call_0", name: str = "lookup_order", times: int = 1) -> Any:
    """Return a streamed answer that calls a tool, as OpenAI words it."""
    calls = [
        {"index": i, "id": id, "type": "function", "function": {"name": name, "arguments": arguments}}
        for i in range(times)
    ]
    steps = (
        event({"id": "c", "model": "fake-1", "choices": [{"index": 0, "delta": {"tool_calls": calls}}]}),
        event({"id": "c", "model": "fake-1", "choices": [{"index": 0, "delta": {}, "finish_reason": "tool_calls"}]}),
        event({"id": "c", "choices": [], "usage": {"prompt_tokens": 9, "completion_tokens": 4, "total_tokens": 13}}),
        event("[DONE]"),
    )
    return replace(stream(""), steps=steps)
