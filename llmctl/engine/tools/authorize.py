"""From a call that waits to what happens with it: its tool, its arguments, and whether it may run."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from llmctl.core import clock
from llmctl.core.errors import DeniedError, LlmctlError
from llmctl.core.stored_json import dumps, loads
from llmctl.core.tools import Tool
from llmctl.engine.tools import permissions, records
from llmctl.engine.tools.permissions import Verdict
from llmctl.engine.tools.records import Ending
from llmctl.engine.tools.toolset import Grant, Question, Reply, Tools
from llmctl.store.database import Database, Row
from llmctl.store.records import permission_rules, settings

#: Characters of arguments that any tool takes.
MOST_ARGUMENTS = 1_000_000

_DAY_S = 86_400.0


@dataclass(slots=True)
class Call:
    """A call on its way to its end."""

    row: Row
    tool: Tool | None = None
    arguments: dict[str, Any] = field(default_factory=dict)
    decision: dict[str, Any] | None = None
    ending: Ending | None = None
    #: What its run raised.
    problem: LlmctlError | None = None
    #: Why it cannot go on for now.
    parked: LlmctlError | None = None
    #: The result is in the thread.
    is_told: bool = False

    @property
    def id(self) -> str:
        return str(self.row["id"])

    @property
    def is_allowed(self) -> bool:
        return self.ending is None and self.decision is not None and self.decision.get("effect") == "allow"

    @property
    def waits(self) -> bool:
        return self.ending is None and self.decision is None


class Vetting:
    """Decides the calls of one turn."""

    def __init__(self, database: Database, tools: Tools, chat_id: str | None) -> None:
        self._database = database
        self._tools = tools
        #: None where nothing is kept of the turn.
        self._chat_id = chat_id
        #: What was answered in this turn for good, where the hub cannot keep it.
        self._remembered: dict[str, str] = {}

    def vet(self, row: Row) -> Call:
        """Return the call with its ending, a decision that it may run, or neither: it waits for a person."""
        call = Call(row, ending=records.ending_of(row))
        if call.ending is not None:
            return call
        grant = self._tools.named(row["name"])
        if grant is None:
            text = records.unavailable_text(row["name"], self._tools.names())
            call.ending = Ending("failed", text, "unavailable tool")
            return call
        call.tool = grant.tool
        verdict = Verdict("deny", "permission") if grant.permission == "denied" else None
        if verdict is None and (wrong := self._read(call, grant.tool)):
            call.ending = Ending("failed", f"Invalid tool arguments: {wrong}", f"invalid arguments: {wrong}")
            return call
        self._decide(call, verdict or self._decided(call) or self._judged(grant, call))
        return call

    def _decide(self, call: Call, verdict: Verdict) -> None:
        if verdict.effect == "ask":
            return
        call.decision = verdict.as_decision(clock.now())
        if verdict.effect == "deny":
            call.ending = Ending("denied", records.denied_text(call.decision), f"denied by {verdict.by}")

    def _read(self, call: Call, tool: Tool) -> str | None:
        """Take the arguments in; return what is wrong with them."""
        call.arguments, wrong = read_arguments(tool, call.row["arguments"])
        return "; ".join(wrong) or None

    def _decided(self, call: Call) -> Verdict | None:
        """Return what a person decided from another shell, if it is about this very call; or that it is too late."""
        decision = loads(call.row["decision"], {}) if call.row.get("decision") else {}
        if decision.get("fingerprint") == records.fingerprint(call.tool, call.row["arguments"]):
            return Verdict(decision["effect"], decision["by"], decision.get("because"))
        if call.row["created_at"] < oldest_pending(self._database):
            return Verdict("deny", "expiry", "Nobody decided in time.")
        return None

    def _judged(self, grant: Grant, call: Call) -> Verdict:
        name, tool_id = grant.tool.name, grant.tool.id
        held = (
            permission_rules.holding(self._database, tool_id, chat_id=self._chat_id, agent_id=self._tools.agent_id)
            if tool_id
            else []
        )
        if name in self._remembered:
            held.append({"arguments_rule": {}, "effect": self._remembered[name]})
        verdict = permissions.judge(grant, call.arguments, held, self._tools.approved)
        return self._asked(grant.tool, call) if verdict.effect == "ask" and self._tools.ask else verdict

    def _asked(self, tool: Tool, call: Call) -> Verdict:
        """Ask the person at the terminal. Raises DeniedError where the run is to end."""
        assert self._tools.ask
        question = Question(tool.name, call.row["arguments"], tool.description, self._tools.agent)
        reply: Reply = self._tools.ask(question)
        if reply in ("always", "never"):
            self._remember(tool, "allow" if reply == "always" else "deny")
        if reply == "stop":
            raise DeniedError("you stopped the run", hint="the call still waits: llmctl tool pending", reason="stopped")
        return Verdict("allow" if reply in ("once", "always") else "deny", "user")

    def _remember(self, tool: Tool, effect: str) -> None:
        if tool.id is None or not (self._chat_id or self._tools.agent_id):
            self._remembered[tool.name] = effect
            return
        remember(self._database, tool.id, effect, chat_id=self._chat_id, agent_id=self._tools.agent_id, arguments={})


def read_arguments(tool: Tool, text: str) -> tuple[dict[str, Any], list[str]]:
    """Return the arguments in a JSON text and what is wrong with them, a line each; nothing runs unless it is empty."""
    if len(text) > MOST_ARGUMENTS:
        return {}, [f"they are longer than {MOST_ARGUMENTS} characters"]
    value = records.parsed_arguments(text) if text.strip() else {}
    if not isinstance(value, dict):
        return {}, ["this is no JSON object"]
    if not tool.schema:
        return value, []
    from llmctl.tools import json_schema  # the validator: only where there is a call

    try:
        return value, json_schema.errors(tool.schema, value)
    except LlmctlError as error:
        return value, [error.message]


def remember(
    database: Database,
    tool_id: str,
    effect: str,
    *,
    arguments: Mapping[str, Any],
    chat_id: str | None = None,
    agent_id: str | None = None,
) -> str:
    """Keep an answer for the agent, or else the chat, until it expires; return the rule's id."""
    days = float(settings.value(database, "permission.expiry"))
    return permission_rules.add(
        database,
        tool_id,
        effect,
        arguments=arguments,
        chat_id=None if agent_id else chat_id,
        agent_id=agent_id,
        expires_at=clock.later(clock.now(), days * _DAY_S),
    )


def oldest_pending(database: Database) -> str:
    """Return the time before which a call has waited for too long."""
    days = float(settings.value(database, "pending.expiry"))
    return clock.later(clock.now(), -days * _DAY_S)


def decision_text(call: Call) -> str | None:
    return dumps(call.decision) if call.decision else None
