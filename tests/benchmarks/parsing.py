"""Parsing: events of a stream a second on each wire, from bytes as they come off the socket.

    python -m tests.benchmarks.parsing [--events 20000] [--rounds 7] [--wire NAME]...

Bytes come in reads of 4 KiB and go through framing and the wire's parser; the best round counts, since others only
show what else the machine did.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any

from llmctl.core.http import Dialect
from llmctl.transport.sse import parse_ndjson, parse_sse
from llmctl.wire import WIRES

GOAL = 100_000
_READ = 4096
_WORD = " word"


def _sse(events: Iterable[Mapping[str, Any]], *, named: bool = False) -> bytes:
    frames = ((f"event: {event['type']}\n" if named else "") + f"data: {json.dumps(event)}\n\n" for event in events)
    return "".join(frames).encode()


def _openai_chat(count: int) -> bytes:
    head = {"id": "chatcmpl-1", "object": "chat.completion.chunk", "created": 1, "model": "gpt-5", "usage": None}
    delta = head | {"choices": [{"index": 0, "delta": {"content": _WORD}, "logprobs": None, "finish_reason": None}]}
    last = head | {"choices": [{"index": 0, "delta": {}, "finish_reason": "stop"}]}
    return _sse([delta] * (count - 1) + [last]) + b"data: [DONE]\n\n"


def _openai_responses(count: int) -> bytes:
    delta = {
        "type": "response.output_text.delta", "sequence_number": 4, "item_id": "msg_1", "output_index": 0,
        "content_index": 0, "delta": _WORD, "logprobs": [], "obfuscation": "Ab3dEf",
    }  # fmt: skip
    last = {"type": "response.completed", "response": {"id": "resp_1", "status": "completed", "output": []}}
    return _sse([delta] * (count - 1) + [last], named=True)


def _anthropic(count: int) -> bytes:
    start = {"type": "content_block_start", "index": 0, "content_block": {"type": "text", "text": ""}}
    delta = {"type": "content_block_delta", "index": 0, "delta": {"type": "text_delta", "text": _WORD}}
    return _sse([start] + [delta] * (count - 2) + [{"type": "message_stop"}], named=True)


def _gemini(count: int) -> bytes:
    usage = {"promptTokenCount": 7, "candidatesTokenCount": 3, "totalTokenCount": 10}
    parts = {"content": {"parts": [{"text": _WORD}], "role": "model"}, "index": 0}
    chunk = {"candidates": [parts], "usageMetadata": usage, "modelVersion": "gemini-3", "responseId": "r"}
    last = chunk | {"candidates": [parts | {"finishReason": "STOP"}]}
    return _sse([chunk] * (count - 1) + [last])


def _ollama(count: int) -> bytes:
    message = {"role": "assistant", "content": _WORD}
    chunk = {"model": "qwen3:8b", "created_at": "2026-01-02T03:04:05.678901Z", "message": message, "done": False}
    last = chunk | {"done": True, "done_reason": "stop", "prompt_eval_count": 7, "eval_count": 3}
    return "".join(json.dumps(line) + "\n" for line in [chunk] * (count - 1) + [last]).encode()


#: Makes a stream of so many events, by wire.
STREAMS: dict[str, Callable[[int], bytes]] = {
    "openai-chat": _openai_chat,
    "openai-responses": _openai_responses,
    "anthropic": _anthropic,
    "gemini": _gemini,
    "ollama": _ollama,
}


def main() -> int:
    arguments = _arguments()
    print(f"{'wire':20} {'events/s':>10} {'goal':>10}")
    good = True
    for name in arguments.wire or STREAMS:
        if name in WIRES:
            rate = measure(name, arguments.events, arguments.rounds)
            good = good and rate >= GOAL
            print(f"{name:20} {rate:10,.0f} {GOAL:10,}{'' if rate >= GOAL else '  below'}")
    return 0 if good else 1


def measure(name: str, count: int, rounds: int) -> float:
    """Return the events a second of the best round."""
    wire, stream = WIRES.load(name), STREAMS[name](count)
    framing = parse_ndjson if wire.framing == "ndjson" else parse_sse
    best = float("inf")
    for _ in range(rounds):
        began = time.perf_counter()
        found = sum(1 for _ in wire.parse_stream(framing(_reads(stream)), Dialect()))
        best = min(best, time.perf_counter() - began)
        assert found >= count - 2, f"{name}: {found} events came of {count}"
    return count / best


def _reads(stream: bytes) -> Iterator[bytes]:
    for start in range(0, len(stream), _READ):
        yield stream[start : start + _READ]


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--events", type=int, default=20_000)
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--wire", action="append", choices=list(STREAMS))
    return parser.parse_args()


if __name__ == "__main__":
    sys.exit(main())
