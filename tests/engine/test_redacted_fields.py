"""The key of a turn is struck out of every field that a host can echo it into, on every wire."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from llmctl.core.chat import ResponseBuilder, StreamEvent
from llmctl.core.errors import LlmctlError
from llmctl.core.redaction import Redaction
from llmctl.engine.turn.decode import decode_events
from llmctl.providers import PROVIDERS
from llmctl.wire import WIRES
from tests.fakes import anthropic_server as anthropic
from tests.fakes import gemini_server as gemini
from tests.fakes.hosts import HOSTS
from tests.fakes.openai_server import Reply, event

KEYS = ["sk-proj-Canary0123456789abcdefXYZ", 'zq9Kx7.pl"ain+canary/5511==']


def escape_all(key: str) -> str:
    return "".join(f"\\u{ord(character):04x}" for character in key)


#: How a host may spell a key inside JSON.
SPELLINGS: dict[str, Callable[[str], str]] = {
    "plain": lambda key: json.dumps(key)[1:-1],
    "escaped": escape_all,
    "first character escaped": lambda key: escape_all(key[:1]) + json.dumps(key[1:])[1:-1],
    "upper case escapes": lambda key: re.sub(r"\\u\w+", lambda m: "\\u" + m[0][2:].upper(), escape_all(key)),
    "escaped in JSON within JSON": lambda key: escape_all(key).replace("\\", "\\\\"),
}
_CALL = ("lookup", {"deep": [{"word": "value"}]})


def bodies() -> Iterator[tuple[str, str, bytes]]:
    """Yield wire, name and bytes of answers that have every kind of field."""
    for wire, host in HOSTS.items():
        replies = {"text": host.streamed("some words"), "document": host.whole("words"), "call": host.calls(*_CALL)}
        for name, reply in replies.items():
            yield wire, name, join(reply)
    more = {"logprobs": None, "finish_reason": "stop", "index": 0}
    extra = {"content": "a", "reasoning_content": "b", "annotations": [{"url": "c"}], "refusal": "d"}
    details = [{"type": "reasoning.encrypted", "data": "e", "id": "f"}, {"type": "reasoning.text", "signature": "g"}]
    chunk = {"id": "x", "model": "m", "system_fingerprint": "s", "service_tier": "t", "provider": "p"}
    first = event(chunk | {"choices": [{"delta": extra | {"reasoning_details": details}, **more}]})
    usage = {"prompt_tokens": 1, "completion_tokens": 1, "note": "n"}
    yield "openai-chat", "metadata", first + event(chunk | {"choices": [], "usage": usage}) + event("[DONE]")
    yield "anthropic", "thinking", join(anthropic.stream(anthropic.thinking(0, "hm", "signature"), anthropic.end()))
    part = {"text": "hm", "thought": True, "thoughtSignature": "signature"}
    yield "gemini", "thinking", join(gemini.stream(gemini.chunk(part), gemini.chunk(reason="STOP")))
    yield "openai-chat", "error", event({"error": {"message": "m", "type": "t", "code": "c", "param": "p"}})


def join(reply: Reply) -> bytes:
    return b"".join(step for step in reply.steps if isinstance(step, bytes))


CASES = list(bodies())
_STRING = re.compile(rb'"((?:[^"\\]|\\.)*)"')


def spread(body: bytes, spelled: str) -> Iterator[bytes]:
    """Yield the body with the key in each of its strings in turn, values and names: instead of it, and after it."""
    for match in _STRING.finditer(body):
        for text in (spelled.encode(), match[1] + spelled.encode()):
            yield body[: match.start(1)] + text + body[match.end(1) :]


def read(wire: str, body: bytes, redact: Redaction, pieces: int) -> tuple[list[StreamEvent], LlmctlError | None]:
    chunks = [body[place : place + pieces] for place in range(0, len(body), pieces)]
    provider = PROVIDERS.load(HOSTS[wire].provider)
    found: list[StreamEvent] = []
    try:
        events = decode_events(chunks, WIRES.load(wire), provider.dialect)
        found += redact.events(events, lambda count: None, lambda: None)
    except LlmctlError as error:
        redact.error(error)
        return found, error
    return found, None


@pytest.mark.parametrize("spelling", list(SPELLINGS))
@pytest.mark.parametrize(("wire", "name", "body"), CASES, ids=[f"{wire}-{name}" for wire, name, _ in CASES])
def test_key_in_any_field_is_struck_out(wire: str, name: str, body: bytes, spelling: str) -> None:
    runs = 0
    for key in KEYS:
        redact = Redaction((key,))
        spelled = SPELLINGS[spelling](key)
        for leaking in spread(body, spelled):
            runs += 1
            events, error = read(wire, leaking, redact, 1 << 20)
            builder = ResponseBuilder()
            for found in events:
                builder.add(found)
            shown = repr((redact.response(builder.build()), error and (error.message, error.reason, error.hint)))
            for place in (shown, redact.text(leaking.decode()), redact.raw(leaking).decode()):
                assert not contains(place, key), leaking
    assert runs > 5


def contains(text: str, key: str) -> bool:
    """Return whether a text has a key, with any number of its characters escaped any number of times."""
    for _ in range(4):
        if key in text:
            return True
        text = re.sub(r"\\u([0-9a-fA-F]{4})", lambda match: chr(int(match[1], 16)), text).replace("\\\\", "\\")
        if key in text or key in text.replace('\\"', '"').replace("\\/", "/"):
            return True
    return False


@pytest.mark.parametrize("wire", list(HOSTS))
def test_key_in_pieces_of_text_is_struck_out(wire: str) -> None:
    redact = Redaction(tuple(KEYS))
    for key in KEYS:
        for text in (f"it is {key}, see", " ".join(key[i : i + 4] for i in range(0, len(key), 4)) + key):
            events, _ = read(wire, join(HOSTS[wire].streamed(text)), redact, 7)
            assert not contains(repr(events), key)


@pytest.mark.parametrize("key", KEYS)
def test_what_is_masked_stays_json(key: str) -> None:
    redact = Redaction((key,))
    for text in (key, f"{key}\\", f'"{key}"', f"\\u0041{key}\\n"):
        for ascii_ in (True, False):
            document = json.dumps({"a": [text], text: text}, ensure_ascii=ascii_)
            assert not contains(str(json.loads(redact.text(document))), key)


def test_values_of_a_turn_without_a_key_pass_unchanged() -> None:
    value: Any = {"a": ["b", 1, None]}
    assert Redaction().value(value) == value
    assert Redaction().raw(b"\\u0041") == b"\\u0041"
