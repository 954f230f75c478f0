"""Explain why a request was or was not answered from the cache, by comparing it with the nearest earlier one."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from difflib import unified_diff
from typing import Any

from llmctl.core.errors import NotFoundError
from llmctl.core.http import HttpRequest
from llmctl.core.stored_values import loads
from llmctl.engine.inspect.replay import provider_for, rebuild_request
from llmctl.store.database import Database
from llmctl.store.records import requests
from llmctl.store.records.types import RequestRow
from llmctl.wire.canonical import CanonicalRequest

#: How many earlier requests are compared.
_MAX_COMPARED = 50
#: Fields of a body that hold the conversation; the others are options.
_PROMPT_FIELDS = ("messages", "input", "contents", "system", "systemInstruction", "instructions", "content", "prompt")

_REASONS = {
    "expired": "expired: the stored answer was older than the limit",
    "incomplete": "was incomplete: the equal request before it did not end with a whole answer",
    "deleted": "deleted: the text of the equal request before it is gone",
    "refreshed": "refreshed: --refresh asks again",
}


@dataclass(frozen=True, slots=True)
class CacheLookup:
    """How a request used the cache. ``diff`` compares its canonical form with that of ``compared_with``."""

    request_id: str
    #: ``hit``, ``miss``, or ``unused`` where no cache was asked for.
    result: str
    reason: str
    cached_from: str | None = None
    compared_with: str | None = None
    diff: str = ""

    def to_record(self) -> dict[str, Any]:
        return {
            "request_id": self.request_id,
            "result": self.result,
            "reason": self.reason,
            "cached_from": self.cached_from,
            "compared_with": self.compared_with,
            "diff": self.diff,
        }


def explain_lookup(database: Database, request: RequestRow) -> CacheLookup:
    """Return how a request used the cache, and what differs from the nearest earlier request."""
    if request.cached_from is not None:
        return CacheLookup(request.id, "hit", "an equal request was answered before", cached_from=request.cached_from)
    missed = loads(request.parameters, {}).get("cache_miss")
    result = "miss" if missed or request.cache_key else "unused"
    own = _find_canonical(database, request)
    nearest = _find_nearest(database, request, own) if own else None
    if own is None or nearest is None:
        reason = "no earlier request to this model" if own else "the text of the request is not in the hub"
        return CacheLookup(request.id, result, _REASONS.get(missed or "", reason))
    row, other = nearest
    reason = _REASONS.get(missed or "") or _compare(own.document, other.document, row)
    if result == "unused":
        reason = f"no cache was asked for; {reason}"
    return CacheLookup(request.id, result, reason, compared_with=row.id, diff=_format_diff(request, own, row, other))


def _find_nearest(
    database: Database, request: RequestRow, own: CanonicalRequest
) -> tuple[RequestRow, CanonicalRequest] | None:
    """Return the earlier request whose canonical form has the most lines in common."""
    wanted = set(own.to_text().splitlines())
    best: tuple[float, RequestRow, CanonicalRequest] | None = None
    for row in requests.list_similar(database, request, _MAX_COMPARED):
        other = _find_canonical(database, row)
        if other is None:
            continue
        lines = set(other.to_text().splitlines())
        score = len(wanted & lines) / len(wanted | lines)
        if best is None or score > best[0]:
            best = score, row, other
        if score == 1.0:
            break
    return best and best[1:]


def _find_canonical(database: Database, request: RequestRow) -> CanonicalRequest | None:
    """Return the canonical form of a stored request; None if its text is not in the hub."""
    with suppress(NotFoundError):
        rebuilt = rebuild_request(database, request)
        stream = requests.find_request_stream(database, request.id)
        wire = (loads(stream["format"], {}) if stream else {}).get("wire") or provider_for(request).wire
        return CanonicalRequest(wire, HttpRequest(rebuilt.method, rebuilt.url, rebuilt.headers, rebuilt.body))
    return None


def _compare(own: Mapping[str, Any], other: Mapping[str, Any], row: RequestRow) -> str:
    """Return what makes a request another one than an earlier one."""
    if own == other:
        is_kept = row.cache_key is not None
        return "equal to the request before it" + ("" if is_kept else ", which was made without --cache or forgotten")
    before, after = (document["body"] if isinstance(document["body"], dict) else {} for document in (other, own))
    changed = sorted(name for name in {*before, *after} if before.get(name) != after.get(name))
    changed += [name for name in ("wire", "url") if own[name] != other[name]]
    if any(name in _PROMPT_FIELDS for name in changed):
        return "new prompt: no earlier request had the same messages"
    return f"options differ: {', '.join(changed)}"


def _format_diff(request: RequestRow, own: CanonicalRequest, row: RequestRow, other: CanonicalRequest) -> str:
    before, after = other.to_text().splitlines(), own.to_text().splitlines()
    names = f"request {row.id} {row.created_at}", f"request {request.id} {request.created_at}"
    return "".join(f"{line}\n" for line in unified_diff(before, after, *names, lineterm=""))
