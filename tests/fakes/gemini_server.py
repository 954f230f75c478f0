"""Answers of Gemini's generateContent, for the loopback server of :mod:`tests.fakes.openai_server`."""

from __future__ import annotations

import json
from typing import Any

from tests.fakes.openai_server import Reply, Step, json_reply

MODEL = "gemini-3.8-flash"
USAGE = {"promptTokenCount": 100, "cachedContentTokenCount": 40, "totalTokenCount": 100}


def chunk(*parts: dict[str, Any], reason: str | None = None, **usage: int) -> bytes:
    """Return the event of these parts, with the line endings that Google sends."""
    candidate: dict[str, Any] = {"content": {"parts": list(parts), "role": "model"}, "index": 0}
    if reason:
        candidate["finishReason"] = reason
    counts = {**USAGE, **usage}
    return frame({"candidates": [candidate], "usageMetadata": counts, "modelVersion": MODEL, "responseId": "resp-1"})


def frame(document: Any) -> bytes:
    return b"data: " + json.dumps(document).encode() + b"\r\n\r\n"


def text(words: str, signature: str | None = None) -> dict[str, Any]:
    return {"text": words} | ({"thoughtSignature": signature} if signature else {})


def thought(words: str) -> dict[str, Any]:
    return {"text": words, "thought": True}


def call(name: str, args: dict[str, Any], signature: str | None = None, **more: Any) -> dict[str, Any]:
    part = {"functionCall": {"name": name, "args": args, **more}}
    return part | ({"thoughtSignature": signature} if signature else {})


def failure(status: int, word: str, message: str, *details: dict[str, Any]) -> dict[str, Any]:
    """Return an error in the format of Google."""
    return {"error": {"code": status, "message": message, "status": word, "details": list(details)}}


def stream(*steps: Step) -> Reply:
    """Return a streamed answer of these chunks."""
    return Reply(200, {"content-type": "text/event-stream"}, steps, chunked=True)


def refusal(status: int, word: str, message: str, *details: dict[str, Any]) -> Reply:
    return json_reply(status, failure(status, word, message, *details))
