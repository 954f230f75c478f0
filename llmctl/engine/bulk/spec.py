"""What a map is asked to do, as its job stores it: enough to go on in another process, and to see what changed."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from llmctl.core.errors import UsageError
from llmctl.core.options import TurnOptions
from llmctl.core.stored_values import dumps, loads
from llmctl.core.values import Value
from llmctl.engine.bulk.rows import RowSource
from llmctl.store.records.types import JobRow

#: The options of a turn that decide what is asked: a job keeps them, and no other answers join them.
ASKING_OPTIONS = ("options", "thinking", "schema", "fix", "extract", "no_stream")
#: The options of a turn that ``--resume=JOB`` takes from the job, where it does not give them: answers join anyway.
_KEPT_OPTIONS = (*ASKING_OPTIONS, "max_cost", "tag", "cache")


class MapSpec(Value):
    """One map: its input, what is asked of each row, and where the answers go."""

    source: RowSource
    #: Templates over the columns; ``system`` may be None.
    prompt: str
    system: str | None
    params: Mapping[str, Any]
    #: The model as ``--model`` takes it.
    model: str
    options: TurnOptions
    id_column: str | None = None
    select: tuple[str, ...] = ()
    #: Absolute paths; None: stdout, and no file of errors.
    output: str | None = None
    errors: str | None = None
    #: Hash of the input; see :meth:`RowSource.fingerprint`.
    fingerprint: str = ""
    #: Flags of ``map`` that say how it runs, by name; ``--resume=JOB`` takes them from the job.
    pace: Mapping[str, Any] = {}

    @property
    def name(self) -> str:
        """The name of the job."""
        return self.source.name.rpartition("/")[2] if self.source.format != "sql" else "query"

    def to_payload(self) -> str:
        """Return the JSON of :func:`from_payload`."""
        source = self.source.to_dict() | {"shard": list(self.source.shard)}
        asked = {"prompt": self.prompt, "system": self.system, "params": dict(self.params), "model": self.model}
        options = {name: value for name, value in self.options.to_dict().items() if name in _KEPT_OPTIONS}
        places = {"select": list(self.select), "output": self.output, "errors": self.errors, "id": self.id_column}
        kept = {"fingerprint": self.fingerprint, "pace": dict(self.pace)}
        return dumps({"source": source, **asked, "options": options, **places, **kept})

    def continues(self, job: JobRow) -> bool:
        """Return whether a job has the same input and output, by name."""
        other = loads(job.payload, {})
        source = other.get("source") or {}
        own = self.source.to_dict() | {"shard": list(self.source.shard)}
        is_same_input = all(own[name] == source.get(name) for name in ("name", "limit", "sample", "shard"))
        return (
            is_same_input
            and (self.source.name != "-" or self.fingerprint == other.get("fingerprint"))
            and (self.output == other.get("output"))
        )

    def find_change(self, other: MapSpec) -> str | None:
        """Return what differs from the spec of a job that is to go on; None: nothing. The input is looked at apart."""
        for what, then, now in (
            ("the model", other.model, self.model),
            ("the prompt", other.prompt, self.prompt),
            ("the system prompt", other.system, self.system),
            ("the parameters", dict(other.params), dict(self.params)),
            ("--id", other.id_column, self.id_column),
        ):
            if then != now:
                return f"{what} changed: {_show(then)} then, {_show(now)} now"
        for name in ASKING_OPTIONS:
            then, now = getattr(other.options, name), getattr(self.options, name)
            if then != now:
                label = "the model options" if name == "options" else f"--{name.replace('_', '-')}"
                return f"{label} changed: {_show(then)} then, {_show(now)} now"
        return None


def from_payload(job: JobRow) -> MapSpec:
    """Return the spec of a job. Raises UsageError for a job that is no map, or whose text was deleted."""
    payload = loads(job.payload, {})
    if job.type != "map" or "source" not in payload:
        raise UsageError(f"job {job.id[:8]} is not a map", hint="list maps: llmctl job list --type map")
    source = payload["source"]
    return MapSpec(
        source=RowSource(**source | {"shard": tuple(source["shard"])}),
        prompt=payload["prompt"],
        system=payload["system"],
        params=payload["params"],
        model=payload["model"],
        options=TurnOptions(**payload["options"]),
        id_column=payload["id"],
        select=tuple(payload["select"]),
        output=payload["output"],
        errors=payload["errors"],
        fingerprint=payload["fingerprint"],
        pace=payload.get("pace") or {},
    )


def _show(value: Any) -> str:
    if value in (None, {}, ""):
        return "none"
    text = value if isinstance(value, str) else dumps(value)
    return f'"{text[:60]}…"' if len(text) > 60 else f'"{text}"'
