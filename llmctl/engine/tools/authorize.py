"""Decide whether a tool call may run: its tool, its arguments, the permission, stored rules, and the user."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, Literal

from llmctl.core import clock
from llmctl.core.errors import DeniedError, LlmctlError, StorageError, UsageError
from llmctl.core.stored_values import decode_arguments, dumps, loads
from llmctl.core.tools import Tool
from llmctl.engine.connections import trust
from llmctl.engine.runtime import ApprovalReply, ApprovalRequest, EditedArguments, ToolGrant, Toolset
from llmctl.engine.tools import records
from llmctl.engine.tools.records import ToolOutcome
from llmctl.store.database import Database
from llmctl.store.records import settings
from llmctl.store.records import tools as records_tools
from llmctl.store.records.types import InvocationRow

#: Limit for the JSON text of the arguments of any tool.
MAX_ARGUMENT_CHARS = 1_000_000

_DAY_S = 86_400.0


@dataclass(frozen=True, slots=True)
class Decision:
    """What happens to a call, and by what it was decided: permission, rule, flag, user or expiry."""

    effect: Literal["allow", "ask", "deny"]
    by: str
    reason: str | None = None
    #: What the user wrote in place of the model's arguments (JSON text).
    arguments: str | None = None

    def to_json(self, at: str) -> dict[str, Any]:
        """Return the decision as stored in the column ``decision``."""
        values = {"effect": self.effect, "by": self.by, "at": at, "because": self.reason, "arguments": self.arguments}
        return {name: value for name, value in values.items() if value}


@dataclass(slots=True)
class PendingToolCall:
    """A tool call until it ends."""

    row: InvocationRow
    tool: Tool | None = None
    arguments: dict[str, Any] = field(default_factory=dict)
    decision: dict[str, Any] | None = None
    outcome: ToolOutcome | None = None
    #: The exception that its run raised.
    error: LlmctlError | None = None
    #: Why it cannot continue for now.
    suspended_by: LlmctlError | None = None
    #: What its tool does and which keys it takes, if the user has not trusted it.
    use: str | None = None
    #: Its result is in the thread.
    is_reported: bool = False

    @property
    def id(self) -> str:
        return str(self.row.id)

    @property
    def is_allowed(self) -> bool:
        return self.outcome is None and self.decision is not None and self.decision.get("effect") == "allow"

    @property
    def is_undecided(self) -> bool:
        return self.outcome is None and self.decision is None


class Authorizer:
    """Decides the tool calls of one turn."""

    def __init__(self, database: Database, tools: Toolset, chat_id: str | None, env: Mapping[str, str]) -> None:
        self._database = database
        self._env = env
        self._tools = tools
        #: None if the turn is not logged.
        self._chat_id = chat_id
        #: Answers that apply for the rest of the turn, if they cannot be stored in the hub.
        self._turn_rules: dict[str, str] = {}

    def authorize(self, row: InvocationRow) -> PendingToolCall:
        """Return the call with an outcome, with a decision that it may run, or with neither: it waits for the user."""
        call = PendingToolCall(row, outcome=records.outcome_from_row(row))
        if call.outcome is not None:
            return call
        grant = self._tools.find(row.name)
        if grant is None:
            text = records.unavailable_text(row.name, self._tools.names())
            call.outcome = ToolOutcome("failed", text, "unavailable tool")
            return call
        call.tool = grant.tool
        decision = Decision("deny", "permission") if grant.permission == "denied" else None
        if decision is None:
            call.arguments, errors = parse_arguments(grant.tool, row.arguments)
            if errors:
                problem = "; ".join(errors)
                call.outcome = ToolOutcome(
                    "failed", f"Invalid tool arguments: {problem}", f"invalid arguments: {problem}"
                )
                return call
        self._apply_decision(call, decision or self._stored_decision(call) or self._decide(grant, call))
        return call

    @cached_property
    def _is_own_hub(self) -> bool:
        """Whether what the hub allows was allowed by this user."""
        return trust.is_own_hub(self._database, self._env)

    def _apply_decision(self, call: PendingToolCall, decision: Decision) -> None:
        if decision.effect == "ask":
            return
        call.decision = decision.to_json(clock.now())
        if decision.effect == "deny":
            call.outcome = ToolOutcome("denied", records.denied_text(call.decision), f"denied by {decision.by}")

    def _stored_decision(self, call: PendingToolCall) -> Decision | None:
        """Return what the user decided about exactly this call, in any process, or a denial if it has expired."""
        decision = loads(call.row.decision, {}) if call.row.decision else {}
        edited = decision.get("arguments")
        fingerprint = records.fingerprint_call(call.tool, edited or call.row.arguments)
        if decision.get("fingerprint") == fingerprint and (
            decision["effect"] == "deny"
            or self._is_own_hub
            or trust.is_approved(self._database, call.id, fingerprint, self._env)
        ):
            if edited:
                call.arguments, _ = parse_arguments(call.tool, edited) if call.tool else ({}, [])
            return Decision(decision["effect"], decision["by"], decision.get("because"), edited)
        if call.row.created_at < pending_cutoff(self._database):
            return Decision("deny", "expiry", "There was no decision in time.")
        return None

    def _decide(self, grant: ToolGrant, call: PendingToolCall) -> Decision:
        """Apply permission and rules; ask the user if they leave it open."""
        name = grant.tool.name
        rules = self._list_rules(grant.tool)
        approved = self._tools.approved
        is_trusted = trust.is_tool_trusted(self._database, grant.tool, self._env)
        if not is_trusted:
            call.use = trust.describe_tool_use(grant.tool)
        if not is_trusted and trust.list_references(grant.tool):  # who named it may not know which keys it takes
            grant, approved = grant.replace(is_named=False), frozenset()
            rules = [rule for rule in rules if rule["effect"] == "deny"]
        if not self._is_own_hub:
            rules = [rule for rule in rules if rule["effect"] == "deny"]
        grant = narrow_grant(grant, is_trusted=is_trusted, is_own_hub=self._is_own_hub)
        if name in self._turn_rules:
            rules.append({"arguments_rule": {}, "effect": self._turn_rules[name]})
        decision = decide(grant, call.arguments, rules, approved)
        return self._ask_user(grant.tool, call) if decision.effect == "ask" and self._tools.ask else decision

    def _list_rules(self, tool: Tool) -> list[dict[str, Any]]:
        if not tool.id:
            return []
        return records_tools.list_active_rules(
            self._database, tool.id, chat_id=self._chat_id, agent_id=self._tools.agent_id
        )

    def _ask_user(self, tool: Tool, call: PendingToolCall) -> Decision:
        """Ask the user on the terminal. Raises DeniedError if the user stops the run."""
        reply, edited = self._ask_until_decided(tool, call)
        if reply in ("always", "never", "everywhere"):
            self._remember(tool, "deny" if reply == "never" else "allow", is_everywhere=reply == "everywhere")
        if reply in ("always", "everywhere") and call.use:
            with suppress(StorageError):  # a home that cannot be written: it is trusted this once
                trust.add_tool(self._database, tool, self._env)
        if reply == "stop":
            raise DeniedError(
                "you stopped the run", hint="the call is still pending: llmctl tool pending", reason="stopped"
            )
        effect: Literal["allow", "deny"] = "allow" if reply in ("once", "always", "everywhere") else "deny"
        return Decision(effect, "user", arguments=edited if effect == "allow" else None)

    def _ask_until_decided(self, tool: Tool, call: PendingToolCall) -> tuple[ApprovalReply, str | None]:
        """Return the user's reply, and the arguments as the user changed them; they are shown and asked for again."""
        assert self._tools.ask
        edited: str | None = None
        problem = ""
        while True:
            request = ApprovalRequest(
                tool.name,
                edited or call.row.arguments,
                tool.description,
                self._tools.agent_name,
                _preview(tool, call.arguments),
                self._scope,
                call.use,
                problem,
            )
            reply = self._tools.ask(request)
            if not isinstance(reply, EditedArguments):
                return reply, edited
            arguments, problem = check_edited_arguments(tool, reply.arguments, self._list_rules(tool))
            if not problem:
                call.arguments, edited = arguments, reply.arguments

    @property
    def _scope(self) -> str:
        """What a remembered answer applies to."""
        if not self._is_own_hub:
            return "for this turn"
        if self._tools.agent_id:
            return f"for agent {self._tools.agent_name}"
        return "for this chat" if self._chat_id else "for this turn"

    def _remember(self, tool: Tool, effect: str, *, is_everywhere: bool) -> None:
        is_kept = effect == "deny" or self._is_own_hub
        if tool.id is None or not is_kept or not (is_everywhere or self._chat_id or self._tools.agent_id):
            self._turn_rules[tool.name] = effect
            return
        chat_id, agent_id = (None, None) if is_everywhere else (self._chat_id, self._tools.agent_id)
        remember_decision(self._database, tool.id, effect, chat_id=chat_id, agent_id=agent_id, arguments={})


def _preview(tool: Tool, arguments: Mapping[str, Any]) -> str | None:
    """Return what a call runs; None if its type does not tell, or the call will fail."""
    from llmctl.tools import TYPES

    preview = TYPES.load(tool.type).preview
    try:
        return preview(tool, arguments) if preview else None
    except LlmctlError:
        return None


def narrow_grant(grant: ToolGrant, *, is_trusted: bool, is_own_hub: bool) -> ToolGrant:
    """Return the grant as it counts here.

    What is stored in a hub of someone else allows nothing, and a tool that came with a file runs unasked only if the
    user named just this one.
    """
    counts = (not grant.is_stored or is_own_hub) and (is_trusted or grant.is_named)
    return grant if counts or grant.permission != "automatic" else grant.replace(permission="user-permitted")


def decide(
    grant: ToolGrant, arguments: Mapping[str, Any], rules: Iterable[Mapping[str, Any]], approved: Iterable[str]
) -> Decision:
    """Decide by permission, stored rules and the names approved for this turn. A denial overrides any approval."""
    if grant.permission == "denied":
        return Decision("deny", "permission")
    effects = {
        rule["effect"] for rule in rules if rule_matches(rule["arguments_rule"], arguments, rule["effect"], grant.tool)
    }
    if "deny" in effects:
        return Decision("deny", "rule")
    if grant.permission == "automatic":
        return Decision("allow", "permission")
    if "allow" in effects:
        return Decision("allow", "rule")
    if grant.tool.name in approved:
        return Decision("allow", "flag")
    return Decision("ask", "permission")


def rule_matches(
    rule: Any, arguments: Mapping[str, Any], effect: Literal["allow", "deny"], tool: Tool | None = None
) -> bool:
    """Whether a rule applies to these arguments.

    ``{}`` always applies; ``{"glob": {"path": "src/*"}}``: each named argument matches its pattern;
    ``{"schema": ...}``: they are valid for a JSON Schema. In doubt a rule that denies applies, and one that allows does
    not.
    """
    if not isinstance(rule, dict) or set(rule) - {"glob", "schema"}:
        return effect == "deny"
    globs = rule.get("glob") or {}
    if globs and not _matches_patterns(globs, arguments, effect, tool):
        return False
    if "schema" not in rule:
        return True
    from llmctl.tools import json_schema

    try:
        return not json_schema.find_errors(rule["schema"], dict(arguments))
    except UsageError:
        return effect == "deny"


def _matches_patterns(
    patterns: Mapping[str, str], arguments: Mapping[str, Any], effect: Literal["allow", "deny"], tool: Tool | None
) -> bool:
    """Whether all named arguments match their patterns."""
    from llmctl.tools import argument_patterns, builtin

    folders = argument_patterns.list_folders(tool) if tool else ()
    for name, pattern in patterns.items():
        value, kind = arguments.get(name), builtin.argument_kind(tool, name) if tool else "text"
        if value is None and kind == "path":
            value = "."
        text = value if isinstance(value, str) else dumps(value)
        if not argument_patterns.matches(pattern, text, effect, kind, folders):
            return False
    return True


def parse_arguments(tool: Tool, text: str) -> tuple[dict[str, Any], list[str]]:
    """Return the arguments in a JSON text and what is wrong with them, a line each; run the tool only if none is."""
    if len(text) > MAX_ARGUMENT_CHARS:
        return {}, [f"they are longer than {MAX_ARGUMENT_CHARS} characters"]
    value = decode_arguments(text) if text.strip() else {}
    if not isinstance(value, dict):
        return {}, ["not a JSON object"]
    if not tool.schema:
        return value, []
    from llmctl.tools import json_schema  # the validator: only if there is a call

    try:
        return value, json_schema.find_errors(tool.schema, value)
    except LlmctlError as error:
        return value, [error.message]


def check_edited_arguments(tool: Tool, text: str, rules: Iterable[Mapping[str, Any]]) -> tuple[dict[str, Any], str]:
    """Return the arguments that the user wrote, and why they cannot be used; empty if they can."""
    arguments, errors = parse_arguments(tool, text)
    if not errors and any(
        rule["effect"] == "deny" and rule_matches(rule["arguments_rule"], arguments, "deny", tool) for rule in rules
    ):
        errors = ["a rule denies them"]
    return arguments, "; ".join(errors)


def remember_decision(
    database: Database,
    tool_id: str,
    effect: str,
    *,
    arguments: Mapping[str, Any],
    chat_id: str | None = None,
    agent_id: str | None = None,
) -> str:
    """Store a rule for the agent, or else the chat, until it expires; return its id."""
    days = float(settings.get(database, "permission.expiry"))
    return records_tools.add_rule(
        database,
        tool_id,
        effect,
        arguments=arguments,
        chat_id=None if agent_id else chat_id,
        agent_id=agent_id,
        expires_at=clock.add_seconds(clock.now(), days * _DAY_S),
    )


def pending_cutoff(database: Database) -> str:
    """Return the time before which pending calls have expired."""
    days = float(settings.get(database, "pending.expiry"))
    return clock.add_seconds(clock.now(), -days * _DAY_S)


def encode_decision(call: PendingToolCall) -> str | None:
    return dumps(call.decision) if call.decision else None
