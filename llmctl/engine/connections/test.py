"""Asking a connection's host for its list of models: the one question that costs nothing and tells what is wrong."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from llmctl.core import clock
from llmctl.core.errors import NotFoundError
from llmctl.core.http import HttpRequest
from llmctl.core.ids import new_id
from llmctl.core.registry import unknown
from llmctl.core.stored_json import dumps
from llmctl.engine.connections.target import Target, access
from llmctl.engine.turn import records
from llmctl.engine.turn.dispatch import send
from llmctl.engine.turn.options import Surroundings
from llmctl.engine.turn.redaction import Redaction
from llmctl.engine.turn.state import Call
from llmctl.store.database import Database
from llmctl.store.writes import Insert, Update
from llmctl.wire import WIRES

#: Seconds for the whole question.
TIMEOUT_S = 20.0

_MOST_BYTES = 20_000_000
_DATE = r"-(\d{8}|latest|0)$"


@dataclass(frozen=True, slots=True)
class Listing:
    """What a host answered: its models, each ``{"id": ..., ...}``, and how long that took."""

    models: list[dict[str, Any]]
    status_code: int | None
    duration_ms: int


def models(database: Database, target: Target, around: Surroundings, *, keep: bool = True) -> Listing:
    """Return the models that a host offers; the attempt is kept in the hub like any other, unless ``keep`` is False.

    Raises what the host's answer comes to: ConfigError for a bad key, UnavailableError for no network or an answer
    that is no list, BudgetError for no credit.
    """
    if target.provider.wire == "echo":
        return Listing([{"id": "echo", "owned_by": "llmctl"}], None, 1)
    allowed = access(target, around.env, home=around.home, on_terminal=around.on_terminal)
    wire = WIRES.load(target.wire)
    request = wire.build_models_request(allowed.endpoint)
    with _kept(database if keep else None, request, Redaction(allowed.secrets)) as call:
        with send(
            request, attempt=1, remaining_s=TIMEOUT_S, loopback_only=around.offline, before_wait=lambda: None
        ) as answer:
            call.status_code, call.headers = answer.status, answer.headers
            body = _read(answer.chunks)
        if not 200 <= answer.status < 300:
            call.body = body
            raise wire.parse_error(answer.status, answer.headers, body)
        found = wire.parse_models(body)
    return Listing(found, call.status_code, clock.elapsed_ms(call.started))


def check(database: Database, target: Target, around: Surroundings, *, keep: bool = True) -> Listing:
    """Ask for the models, and see that the connection's own is one of them; NotFoundError where it is not.

    A host that lists nothing, or deployments under names of the user's, cannot be asked that.
    """
    listing = models(database, target, around, keep=keep)
    ids = [str(model["id"]) for model in listing.models]
    if target.model and ids and target.provider.auth != "api-key" and not _is_listed(target.model, ids):
        error = unknown("model", target.model, ids, error=NotFoundError)
        error.reason = "model_not_found"
        raise error
    return listing


def _is_listed(model: str, ids: list[str]) -> bool:
    """Say whether a list has a model; hosts add a tag of their own (``llama3:latest``, ``org/model:free``).

    Anthropic lists dated models and takes them without the date, or with ``-latest`` or ``-0`` in its place.
    """
    return any(
        id == model
        or id.partition(":")[0] == model
        or model.partition(":")[0] == id
        or re.sub(_DATE, "", id) == re.sub(_DATE, "", model)
        for id in ids
    )


def _read(chunks: Iterator[bytes]) -> bytes:
    found = bytearray()
    for chunk in chunks:
        found += chunk
        if len(found) > _MOST_BYTES:
            break
    return bytes(found)


@contextmanager
def _kept(database: Database | None, request: HttpRequest, redact: Redaction) -> Iterator[Call]:
    """Keep the row of the attempt: begun before the socket opens, finished however it ends."""
    call, now = Call(new_id()), clock.now()
    if database is None:
        yield call
        return
    row = {
        "id": call.id,
        "endpoint": redact.url(request.url),
        "method": request.method,
        "request_headers": dumps(redact.headers(request.headers)),
        "created_at": now,
        "updated_at": now,
    }
    database.commit(Insert("network_calls", row))
    try:
        yield call
    except BaseException as error:
        database.commit(Update("network_calls", call.id, records.call_columns(call, error, redact)))
        raise
    database.commit(Update("network_calls", call.id, records.call_columns(call, None, redact)))
