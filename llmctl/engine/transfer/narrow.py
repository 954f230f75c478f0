"""An import may narrow what runs without asking, never widen it, and does not redirect what is here already.

What a file says about permissions was decided by whoever wrote it. Rules that allow calls are left out, automatic
grants ask again, approvals are taken back, and hosted tools, which run where the file says, leave the options.
Connections, tools and aliases of this hub keep what they are.
"""

from __future__ import annotations

import shlex
from collections.abc import Callable, Mapping
from typing import Any

from llmctl.core.stored_values import dumps, loads
from llmctl.core.transfer_records import ImportRow
from llmctl.engine.jobs.command import FOREIGN
from llmctl.engine.models.rates import RATE_COLUMNS
from llmctl.providers import PROVIDERS
from llmctl.store.database import Database, Row
from llmctl.store.records import connections, models
from llmctl.store.transfer import merge
from llmctl.tools.builtin import BUILTINS

#: Start of ``source_file`` of an agent that is a class of a program: such an agent has no file.
_CLASS_PREFIX = "python:"
#: Options in which a request names tools of the provider's, servers of anybody's among them.
_HOSTED_TOOLS = ("tools", "tool_choice", "mcp_servers")
#: Columns of a chat that has had no turn in this hub.
_IMPORTED_CHAT = {"origin": "import", "last_turn_folder": None, "last_turn_terminal": False}
#: Columns that say what a row does, and what to call it in a report.
_KEPT = {
    "model_connections": (("provider", "data"), "connection", "another host, key or options"),
    "tools": (("type", "schema", "data"), "tool", "another definition"),
    "model_aliases": (("target", "options"), "alias", "another target or options"),
    "agents": (
        ("chat_model_id", "instructions", "options", "settings", "version_hash"),
        "agent",
        "another connection, instructions or options",
    ),
    "user_settings": (("settings",), "settings", "other values"),
}


class Narrower:
    """Narrows the rows of one import.

    ``counts`` is how many permissions of each kind do not count, ``hints`` has a command that gives one of them.
    """

    def __init__(self, database: Database, on_problem: Callable[[str, int], None]) -> None:
        self._database = database
        self._on_problem = on_problem
        self._is_fresh = merge.is_fresh(database)
        self.counts: dict[str, int] = {}
        self.hints: dict[str, str] = {}
        #: Ids of prices that are new here.
        self.prices: list[str] = []
        self._names: dict[str, str] = {}

    def narrow(self, record: ImportRow) -> ImportRow | None:
        """Return the row as it may be imported, or None to leave it out."""
        change = _CHANGES.get(record.table)
        if change is None:
            return record
        if record.table in ("tools", "agents"):
            self._names[str(record.row.get("id"))] = str(record.row.get("name"))
        row = change(self, record, merge.find_row(self._database, record.table, record.row.get("id")))
        return None if row is None else record.replace(row=row)

    def _count(self, kind: str, *command: str) -> None:
        self.counts[kind] = self.counts.get(kind, 0) + 1
        if command:
            self.hints.setdefault(kind, shlex.join(("llmctl", *command)))

    def _name_of(self, table: str, id: Any) -> str:
        own = merge.find_row(self._database, table, id)
        return str(own["name"]) if own else self._names.get(str(id), str(id)[:8])

    def _keep_own(self, record: ImportRow, own: Row | None) -> Mapping[str, Any]:
        """Return the row with the columns of ours that say what it does."""
        columns, kind, what = _KEPT[record.table]
        row = record.row
        if own is None or all(_is_equal(own[name], row.get(name)) for name in columns):
            return row
        if str(row.get("updated_at")) > str(own["updated_at"]):
            name = f'{kind} "{own["name"]}" is' if "name" in own else f"{kind} are"
            as_here = "as it is here" if "name" in own else "as they are here"
            self._on_problem(f"{name} kept {as_here}: the file has {what}", record.line)
        return {**row, **{name: own[name] for name in columns}}

    def _narrow_alias(self, record: ImportRow, own: Row | None) -> Mapping[str, Any] | None:
        """Return an alias; a new one does not get the name of a provider or of a model: it would redirect that."""
        row = self._keep_own(record, own)
        if own is not None:
            return row
        name = str(row.get("name"))
        if not self._is_taken(name):
            return self._narrow_options(row)
        command = shlex.join(("llmctl", "model", "alias", name, str(row.get("target"))))
        self._on_problem(f'alias "{name}" is left out: it would redirect a model; to set it: {command}', record.line)
        return None

    def _is_taken(self, name: str) -> bool:
        """Return whether a name already says where a prompt goes: as CONNECTION:MODEL, or as a vendor or its model."""
        from llmctl.engine.connections import model_names  # loads the catalog

        head, colon, _ = name.partition(":")
        if colon and (head in PROVIDERS or connections.find_by_name(self._database, head)):
            return True
        has_model = any(
            connections.list_by_model(self._database, name, kind) for kind in ("chat", "embedding", "image")
        )
        return has_model or model_names.find_vendor(name) is not None

    def _narrow_agent(self, record: ImportRow, own: Row | None) -> Mapping[str, Any]:
        """Return a new agent without its file: a program at that path, of anybody's, would run."""
        if own is not None:
            return {**self._keep_own(record, own), "source_file": own["source_file"]}
        row, file = record.row, record.row.get("source_file")
        if isinstance(file, str) and not file.startswith(_CLASS_PREFIX):
            self._count("agent_files", "agent", "apply", file)
            row = {**row, "source_file": None}
        return self._narrow_options(row)

    def _narrow_options(self, row: Mapping[str, Any]) -> Mapping[str, Any]:
        options = _parse_object(row.get("options"))
        if not options or not set(options) & set(_HOSTED_TOOLS):
            return row
        self._count("hosted_tools")
        return {**row, "options": dumps(_without_hosted_tools(options))}

    def _narrow_tool(self, record: ImportRow, own: Row | None) -> Mapping[str, Any]:
        """Return a tool; one that is not just as it is built in does not get the name of a built-in tool.

        With that name the user's own commands would use the folders, hosts or commands that the file allows.
        """
        row = self._keep_own(record, own)
        name = row.get("name")
        if own is not None or name not in BUILTINS:
            return row
        if row.get("type") == "builtin" and _parse_object(row.get("data")) == {"builtin": name}:
            return row
        return {**row, "name": f"{name}-2"}

    def _narrow_rule(self, record: ImportRow, own: Row | None) -> Mapping[str, Any] | None:
        """Return a new rule that denies calls; a rule of this hub stays as it is."""
        if own is not None:
            return None
        if record.row.get("effect") == "deny":
            return record.row
        tool = self._name_of("tools", record.row.get("tool_id"))
        self._count("rules", "tool", "edit", tool, "--allow", _describe_rule(record.row.get("arguments_rule")))
        return None

    def _narrow_grant(self, record: ImportRow, own: Row | None) -> Mapping[str, Any] | None:
        row = record.row
        if own is not None:
            return {**own, **_later(own, row), "permission": "denied"} if row.get("permission") == "denied" else None
        if row.get("permission") != "automatic":
            return row
        agent, tool = (self._name_of(f"{kind}s", row.get(f"{kind}_id")) for kind in ("agent", "tool"))
        self._count("agent_grants", "agent", "attach", agent, f"{tool}:auto")
        return {**row, "permission": "user-permitted"}

    def _narrow_chat(self, record: ImportRow, own: Row | None) -> Mapping[str, Any]:
        """Return a chat whose tools ask, and that ``chat -c`` does not take before it was continued here.

        In an unused hub it stays as it was: nothing else could be meant.
        """
        if not self._is_fresh:
            place = {name: own[name] if own else value for name, value in _IMPORTED_CHAT.items()}
            record = record.replace(row={**record.row, **place})
        settings = _parse_object(record.row.get("settings"))
        if settings is None or not settings.keys() & {"tools", "options"}:
            return record.row
        own_settings = (_parse_object(own["settings"]) or {}) if own else {}
        options, own_options = settings.get("options"), own_settings.get("options")
        chat = str(record.row.get("name") or str(record.row.get("id"))[:8])
        if isinstance(options, dict) and options != own_options and set(options) & set(_HOSTED_TOOLS):
            self._count("hosted_tools")
            settings["options"] = _without_hosted_tools(options)
        if "tools" in settings:
            settings["tools"] = self._narrow_tools(settings["tools"], own_settings.get("tools"), chat)
        return {**record.row, "settings": dumps(settings)}

    def _narrow_tools(self, tools: Any, own: Any, chat: str) -> dict[str, str]:
        narrowed = {}
        for name, permission in (tools if isinstance(tools, dict) else {}).items():
            allowed = own.get(name, "user-permitted") if isinstance(own, dict) else "user-permitted"
            narrowed[name] = permission if permission in ("user-permitted", "denied") else allowed
            if allowed == "denied":
                narrowed[name] = "denied"
            if permission == "automatic" and allowed == "user-permitted":
                self._count("chat_grants", "chat", "--chat", chat, "-T", f"{name}:auto")
        return narrowed

    def _narrow_invocation(self, record: ImportRow, own: Row | None) -> Mapping[str, Any]:
        """Return a call; one that waits and was approved elsewhere waits for this user's decision."""
        row = record.row
        decision = _parse_object(row.get("decision"))
        if row.get("status") != "pending" or row.get("decision") is None or (decision or {}).get("effect") == "deny":
            return row
        if own is not None and _is_equal(own["decision"], row.get("decision")):
            return row
        self._count("approvals", "tool", "approve", str(row.get("id"))[:8])
        return {**row, "decision": None}

    def _narrow_price(self, record: ImportRow, own: Row | None) -> Mapping[str, Any]:
        """Return a price; no limit of this user counts at a new one."""
        row = record.row
        if own is not None:
            return {**own, **_later(own, row)}
        self.prices.append(str(row.get("id")))
        if row.get("source") == models.USER_SOURCE:
            rates = [word for name in RATE_COLUMNS for word in _describe_rate(name, row.get(f"{name}_per_million"))]
            self._count("prices", "model", "price", f"{row.get('provider')}:{row.get('model')}", *rates)
        return row

    def _narrow_request(self, record: ImportRow, own: Row | None) -> Mapping[str, Any]:
        """Return a request whose answer is no model's answer here, and that reserves nothing and lowers no sum."""
        row, cost = record.row, record.row.get("cost")
        is_negative = isinstance(cost, int | float) and cost < 0
        narrowed = {"cache_key": own["cache_key"] if own else None}
        narrowed |= {"cost": None} if is_negative else {}
        narrowed |= {"reserved_cost": None} if own is None else {}
        return {**row, **narrowed}

    def _narrow_job(self, record: ImportRow, own: Row | None) -> Mapping[str, Any]:
        """Return a job whose command is not run again here: it is what somebody else ran."""
        row = record.row
        if own is not None:
            return {**row, "payload": own["payload"], "name": own["name"], "type": own["type"]}
        payload = _parse_object(row.get("payload"))
        if not payload or "command" not in payload:
            return row
        return {**row, "payload": dumps({**payload, FOREIGN: True})}


_CHANGES: Mapping[str, Callable[[Narrower, ImportRow, Row | None], Mapping[str, Any] | None]] = {
    "model_connections": Narrower._keep_own,
    "model_aliases": Narrower._narrow_alias,
    "agents": Narrower._narrow_agent,
    "tools": Narrower._narrow_tool,
    "permission_rules": Narrower._narrow_rule,
    "agent_tool_connections": Narrower._narrow_grant,
    "chats": Narrower._narrow_chat,
    "tool_invocations": Narrower._narrow_invocation,
    "requests": Narrower._narrow_request,
    "jobs": Narrower._narrow_job,
    "model_prices": Narrower._narrow_price,
    "user_settings": Narrower._keep_own,
}


def _is_equal(one: Any, other: Any) -> bool:
    """Return whether two values of a column are the same, as JSON where they are that."""
    if one == other:
        return True
    first, second = _parse_object(one), _parse_object(other)
    return first is not None and first == second


def _parse_object(text: Any) -> dict[str, Any] | None:
    if not isinstance(text, str):
        return None
    try:
        value = loads(text)
    except (ValueError, RecursionError):
        return None
    return value if isinstance(value, dict) else None


def _describe_rule(text: Any) -> str:
    """Return a rule as ``tool edit --allow`` takes it."""
    rule = _parse_object(text) or {}
    globs = rule.get("glob")
    if isinstance(globs, dict) and len(globs) == 1 and len(rule) == 1:
        return "=".join(map(str, next(iter(globs.items()))))
    return dumps(rule["schema"]) if "schema" in rule else "*"


def _describe_rate(name: str, value: Any) -> tuple[str, ...]:
    """Return a rate as ``model price`` takes it."""
    is_number = isinstance(value, int | float) and not isinstance(value, bool)
    return ("--set", f"{name}={value:g}") if is_number else ()


def _without_hosted_tools(options: Mapping[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in options.items() if name not in _HOSTED_TOOLS}


def _later(own: Row, row: Mapping[str, Any]) -> dict[str, Any]:
    """Return the time of the newer row: an older one changes nothing."""
    return {"updated_at": row.get("updated_at", own["updated_at"])}
