"""Send a past request again: a new row in ``requests``, and no change to the chat it came from."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace

from llmctl.core.errors import NotFoundError, PendingError
from llmctl.core.stored_json import dumps
from llmctl.engine.billing.budget import cost_limits
from llmctl.engine.connections import target
from llmctl.engine.events import TurnEvent
from llmctl.engine.inspect import rebuild_request
from llmctl.engine.runtime import CallerInfo, RuntimeEnv
from llmctl.engine.tools import toolset
from llmctl.engine.turn.options import CallOptions, PersistOptions, TurnPlan, UserInput
from llmctl.engine.turn.result import TurnResult
from llmctl.engine.turn.turn import Turn
from llmctl.store.database import Database
from llmctl.store.records.settings import list_changed
from llmctl.store.records.types import RequestRow
from llmctl.store.writes import Update


class Replay:
    """A request sent again. ``result`` is complete after :meth:`events` has run."""

    def __init__(
        self,
        database: Database,
        request: RequestRow,
        caller: CallerInfo,
        runtime: RuntimeEnv,
        *,
        model: str | None = None,
        on_commit: Callable[[], None] = lambda: None,
    ) -> None:
        original = rebuild_request.rebuild_chat_request(database, request)
        self._database = database
        self._original_id: str = request.id
        self._turn = Turn(
            database,
            TurnPlan(
                chat=None,
                target=_pick_target(database, request, model, runtime),
                input=UserInput(messages=original.messages),
                call_options=CallOptions(
                    options=original.options,
                    thinking=original.thinking,
                    shows_thinking=original.shows_thinking,
                    schema=original.schema,
                    stream=original.stream,
                    max_steps=1,
                    cost_limits=cost_limits(list_changed(database)),
                ),
                persist=PersistOptions(log=False, tag=request.tag),
                caller=caller,
                runtime=runtime,
                tools=_current_tools(database, request),
            ),
            on_commit=on_commit,
        )

    @property
    def result(self) -> TurnResult:
        return self._turn.result

    def events(self) -> Iterator[TurnEvent]:
        """Yield the events of the turn; however it ends, the new request refers to the one it repeats."""
        try:
            with self._turn:
                yield from self._turn.events()
        except PendingError as error:
            error.hint = "a replay runs no tools; --json shows what the model would call"
            raise
        finally:
            if self.result.request_id:
                refs = dumps({"replay_of": self._original_id})
                self._database.commit(Update("requests", self.result.request_id, {"refs": refs}))


def _current_tools(database: Database, request: RequestRow) -> toolset.Toolset:
    """Return the tools that were sent, as they are now; raise NotFoundError if one was deleted."""
    names = rebuild_request.stored_parameters(request).get("tools") or ()
    return toolset.Toolset(toolset.resolve_grants(database, dict.fromkeys(names, "user-permitted")))


def _pick_target(database: Database, request: RequestRow, model: str | None, runtime: RuntimeEnv) -> target.Target:
    """Return the target: ``model``, or the original one. Only the options of the original request apply."""
    if model is not None:
        found = target.resolve(database, model, runtime.env)
    elif request.connection:
        found = _connection_target(database, request, runtime)
    else:
        found = target.resolve(database, f"{request.provider}:{request.model}", runtime.env)
    return replace(found, options={})


def _connection_target(database: Database, request: RequestRow, runtime: RuntimeEnv) -> target.Target:
    try:
        found = target.for_connection(database, str(request.connection), runtime.env)
    except NotFoundError:
        found = target.resolve(database, f"{request.provider}:{request.model}", runtime.env)
    return target.with_model(found, request.model)
