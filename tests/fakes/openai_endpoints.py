"""Answers of OpenAI's embeddings, images and Responses APIs, for the fake server of its Chat Completions."""

from __future__ import annotations

from base64 import b64encode
from typing import Any

from tests.fakes.openai_server import Reply, Request, event, json_reply

PNG = b"\x89PNG\r\n\x1a\n" + bytes(24)


def vectors(request: Request) -> Reply:
    """Answer each text with its position and length, in reverse order."""
    texts = request.json["input"]
    data = [{"index": place, "embedding": [place, float(len(text))]} for place, text in enumerate(texts)]
    usage = {"prompt_tokens": 3 * len(texts), "total_tokens": 3 * len(texts)}
    return json_reply(200, {"data": data[::-1], "model": "fake-embed-1", "usage": usage}, {"x-request-id": "req-7"})


def pictures(*data: bytes, **more: Any) -> Reply:
    """Answer with these images."""
    usage = {
        "input_tokens": 9,
        "input_tokens_details": {"image_tokens": 0, "text_tokens": 9},
        "output_tokens": 272,
        "total_tokens": 281,
    }
    rows = [{"b64_json": b64encode(one).decode()} for one in data]
    return json_reply(200, {"created": 1, "data": rows, "usage": usage, **more})


def picture_at(url: str) -> Reply:
    """Answer with the URL of an image."""
    return json_reply(200, {"created": 1, "data": [{"url": url, "revised_prompt": "a tall lighthouse"}]})


def file(data: bytes, kind: str = "image/png") -> Reply:
    return Reply(200, {"content-type": kind}, (data,), length=len(data))


def response_stream(*items: dict[str, Any], text: str = "") -> Reply:
    """Stream a response: the items, then a message with the text, word by word."""
    message = {"type": "message", "id": "msg_1", "content": [{"type": "output_text", "text": text, "annotations": []}]}
    output = [*items, *([message] if text else [])]
    usage = {"input_tokens": 20, "output_tokens": 9, "output_tokens_details": {"reasoning_tokens": 4}}
    steps = [_event("created", response={"id": "resp_1", "model": "fake-think-1", "status": "in_progress"})]
    for place, item in enumerate(output):
        steps.append(
            _event(
                "output_item.added",
                output_index=place,
                item=item | ({"content": []} if item["type"] == "message" else {}),
            )
        )
        if item is message:
            words = text.split(" ")
            pieces = [words[0], *(f" {word}" for word in words[1:])]
            steps += [_event("output_text.delta", output_index=place, delta=piece) for piece in pieces]
        steps.append(_event("output_item.done", output_index=place, item=item))
    done = {"id": "resp_1", "model": "fake-think-1", "status": "completed", "output": output, "usage": usage}
    steps.append(_event("completed", response=done))
    return Reply(200, {"content-type": "text/event-stream"}, tuple(steps), chunked=True)


def _event(kind: str, **more: Any) -> bytes:
    return event({"type": f"response.{kind}", **more}, f"response.{kind}")
