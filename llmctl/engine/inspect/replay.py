"""Sending a request of the ledger again: a new row there, and nothing in the chat it came from."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace

from llmctl.core.errors import NotFoundError, PendingError
from llmctl.core.stored_json import dumps
from llmctl.engine.billing.limits import caps
from llmctl.engine.connections import target
from llmctl.engine.inspect import rebuild_request
from llmctl.engine.tools import toolset
from llmctl.engine.turn.options import Ask, Keep, Manner, Origin, Surroundings
from llmctl.engine.turn.plan import Plan
from llmctl.engine.turn.result import Outcome, TurnEvent
from llmctl.engine.turn.turn import Turn
from llmctl.store.database import Database, Row
from llmctl.store.records.settings import chosen
from llmctl.store.writes import Update


class Replay:
    """One request, sent again. ``outcome`` tells what came of it once :meth:`events` has run."""

    def __init__(
        self,
        database: Database,
        request: Row,
        origin: Origin,
        around: Surroundings,
        *,
        model: str | None = None,
        on_idle: Callable[[], None] = lambda: None,
    ) -> None:
        asked = rebuild_request.chat_request(database, request)
        self._database = database
        self._replayed: str = request["id"]
        self._turn = Turn(
            database,
            Plan(
                chat=None,
                target=_target(database, request, model, around),
                ask=Ask(messages=asked.messages),
                manner=Manner(
                    options=asked.options,
                    thinking=asked.thinking,
                    shows_thinking=asked.shows_thinking,
                    schema=asked.schema,
                    stream=asked.stream,
                    max_steps=1,
                    caps=caps(chosen(database)),
                ),
                keep=Keep(log=False, tag=request["tag"]),
                origin=origin,
                around=around,
                tools=_tools(database, request),
                on_idle=on_idle,
            ),
        )

    @property
    def outcome(self) -> Outcome:
        return self._turn.outcome

    def events(self) -> Iterator[TurnEvent]:
        """Yield what comes; the new request refers to the one it repeats, however it ends."""
        try:
            with self._turn:
                yield from self._turn.events()
        except PendingError as error:
            error.hint = "a replay runs no tools; --json shows what the model would call"
            raise
        finally:
            if self.outcome.request_id:
                refs = dumps({"replay_of": self._replayed})
                self._database.commit(Update("requests", self.outcome.request_id, {"refs": refs}))


def _tools(database: Database, request: Row) -> toolset.Tools:
    """Return the tools that the model was told of, as they are now; raise NotFoundError where one is gone."""
    names = rebuild_request.parameters_of(request).get("tools") or ()
    return toolset.Tools(toolset.resolve(database, dict.fromkeys(names, "user-permitted")))


def _target(database: Database, request: Row, model: str | None, around: Surroundings) -> target.Target:
    """Return where to send it: to ``model``, or where it went, with the options it had and no others."""
    if model is not None:
        found = target.resolve(database, model, around.env)
    elif request["connection"]:
        found = _connection(database, request, around)
    else:
        found = target.resolve(database, f"{request['provider']}:{request['model']}", around.env)
    return replace(found, options={})


def _connection(database: Database, request: Row, around: Surroundings) -> target.Target:
    try:
        found = target.of_connection(database, request["connection"], around.env)
    except NotFoundError:
        found = target.resolve(database, f"{request['provider']}:{request['model']}", around.env)
    return target.with_model(found, request["model"])
