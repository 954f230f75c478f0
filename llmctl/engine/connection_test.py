"""Test a connection by requesting its host's list of models: free of charge, and it shows what is wrong."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from llmctl.core import clock
from llmctl.core.errors import LlmctlError, NotFoundError
from llmctl.core.http import HttpRequest
from llmctl.core.redaction import Redaction
from llmctl.core.registry import unknown_name_error
from llmctl.core.stored_values import new_id
from llmctl.engine.connections.target import ResolvedEndpoint, Target, name_connection, resolve_endpoint
from llmctl.engine.runtime import RuntimeEnv
from llmctl.engine.turn import records
from llmctl.engine.turn.model_call import send
from llmctl.engine.turn.state import Attempt
from llmctl.store.database import Database, Insert, Update
from llmctl.wire import WIRES

#: Seconds for the whole request.
TIMEOUT_S = 20.0

_MAX_BYTES = 20_000_000
_VERSION_SUFFIX = r"-(\d{8}|latest|0)$"


@dataclass(frozen=True, slots=True)
class ModelList:
    """The models a host lists, each ``{"id": ..., ...}``, and how long the request took."""

    models: list[dict[str, Any]]
    status_code: int | None
    duration_ms: int


def list_models(database: Database, target: Target, runtime: RuntimeEnv, *, record: bool = True) -> ModelList:
    """Return the models of a target's host; the attempt is recorded in the hub like any other, if ``record``.

    Raises ConfigError for a rejected key, UnavailableError for a network failure or an invalid response, BudgetError
    for lack of credit.
    """
    if target.provider.wire == "echo":
        return ModelList([{"id": "echo", "owned_by": "llmctl"}], None, 1)
    resolved = resolve_endpoint(database, target, runtime)
    try:
        return _fetch_models(database if record else None, target, runtime, resolved)
    except LlmctlError as error:
        name_connection(error, target.connection, target.provider.name)
        raise


def _fetch_models(
    database: Database | None, target: Target, runtime: RuntimeEnv, resolved: ResolvedEndpoint
) -> ModelList:
    wire = WIRES.load(target.wire)
    request = wire.build_models_request(resolved.endpoint)
    redact = Redaction(resolved.secrets)
    with _record_attempt(database, request, redact) as attempt:
        with send(request, attempt=1, remaining_s=TIMEOUT_S, runtime=runtime, before_wait=lambda: None) as answer:
            attempt.status_code, attempt.headers = answer.status, answer.headers
            body = _read_body(answer.chunks)
        if not 200 <= answer.status < 300:
            attempt.body = body
            raise wire.parse_error(answer.status, answer.headers, body)
        found = wire.parse_models(redact.raw(body))
    return ModelList(found, attempt.status_code, clock.elapsed_ms(attempt.started))


def check_connection(database: Database, target: Target, runtime: RuntimeEnv, *, record: bool = True) -> ModelList:
    """Return the host's models; raise NotFoundError if the connection's model is not among them.

    Not checked for a host that lists nothing, or whose deployments have names of the user's own (Azure).
    """
    listing = list_models(database, target, runtime, record=record)
    ids = [str(model["id"]) for model in listing.models]
    if target.model and ids and target.provider.auth != "api-key" and not _has_model(target.model, ids):
        error = unknown_name_error("model", target.model, ids, error=NotFoundError)
        error.reason = "model_not_found"
        raise error
    return listing


def _has_model(model: str, ids: list[str]) -> bool:
    """Return whether a model is in a list; hosts may add a tag (``llama3:latest``, ``org/model:free``).

    Anthropic lists dated models and also accepts them without the date, or with ``-latest`` or ``-0`` instead.
    """
    return any(
        id == model
        or id.partition(":")[0] == model
        or model.partition(":")[0] == id
        or re.sub(_VERSION_SUFFIX, "", id) == re.sub(_VERSION_SUFFIX, "", model)
        for id in ids
    )


def _read_body(chunks: Iterator[bytes]) -> bytes:
    found = bytearray()
    for chunk in chunks:
        found += chunk
        if len(found) > _MAX_BYTES:
            break
    return bytes(found)


@contextmanager
def _record_attempt(database: Database | None, request: HttpRequest, redact: Redaction) -> Iterator[Attempt]:
    """Record the attempt as a row that exists before the socket opens and is finished however the attempt ends."""
    attempt = Attempt(new_id())
    if database is None:
        yield attempt
        return
    database.commit(Insert("network_calls", records.attempt_row(attempt, request, redact)))
    try:
        yield attempt
    except BaseException as error:
        database.commit(Update("network_calls", attempt.id, records.attempt_end_columns(attempt, error, redact)))
        raise
    database.commit(Update("network_calls", attempt.id, records.attempt_end_columns(attempt, None, redact)))
