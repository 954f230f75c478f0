"""The options of a turn, each declared once, and the settings of a hub.

A field of :class:`TurnOptions` is a flag of ``chat``, ``run`` and ``agent run``, a key of prompt and agent files, a
keyword of the Python API and a setting of the hub, as its ``doors`` say. Flags, files, keywords, settings, validation
and help derive from this table: to add an option, add a field.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from contextlib import suppress
from typing import Any, Literal, Self

from llmctl.core.errors import UsageError
from llmctl.core.registry import unknown_name_error
from llmctl.core.values import Value

Kind = Literal[
    "text", "integer", "number", "switch", "tristate", "list", "pairs", "words", "effort", "schema", "expiry"
]

#: The groups of ``chat --help``, in order.
GROUPS = ("Input", "Model", "Output", "Tools", "Conversation", "Limits", "Storage")

EFFORTS = ("none", "low", "medium", "high")
#: Word of the command line that takes away a value which something else set.
NULL = "null"
#: Kinds of rows that ``--no-persist`` drops when the turn is finished.
ROW_KINDS = ("tool-calls", "requests", "network", "streams")
#: About 30 years: longer than anyone waits, shorter than what the system's clocks overflow at.
MAX_SECONDS = 1_000_000_000

_UNSET: dict[str, Any] = {"switch": False, "list": (), "pairs": {}, "words": frozenset()}
#: What a value must be, where no bounds and no choices say it.
_NOUNS = {
    "text": "a string",
    "integer": "a whole number",
    "number": "a number",
    "switch": "true or false",
    "tristate": "true or false",
    "list": "a list of strings",
    "pairs": "a table",
    "words": "a list of strings",
    "schema": "a string or a table",
    "expiry": "on, off or a time such as 12h or 7d",
}
_BOOLEANS = {"true": True, "yes": True, "on": True, "1": True, "false": False, "no": False, "off": False, "0": False}


class Option(Value):
    """One option: its names, where it may be set, and which values it takes."""

    name: str
    kind: Kind
    help: str
    group: str | None = None
    metavar: str | None = None
    #: Spellings on the command line, the long one first; none: it is no flag.
    flags: tuple[str, ...] = ()
    #: Where it may be set: "flag", "file" (prompt and agent files), "python", "setting".
    doors: frozenset[str] = frozenset()
    #: The keyword of the Python API where that has another name.
    keyword: str | None = None
    #: Used when nothing sets the option.
    default: Any = None
    minimum: float | None = None
    #: Values must be greater than this.
    above: float | None = None
    maximum: float | None = None
    choices: tuple[str, ...] = ()
    #: Whether the values of flags follow those of a file instead of replacing them (a list).
    appends: bool = False
    #: Whether a text may be empty.
    allows_empty: bool = False
    #: The option, without a flag of its own, that takes several values where a command allows them.
    several: str = ""
    #: Whether values of ``K=V`` are decoded where they are JSON: numbers, true, lists.
    decodes: bool = False
    #: Whether its flag may stand alone: a value follows behind ``=`` only.
    has_optional_value: bool = False

    @property
    def unset(self) -> Any:
        """The value without any setting: the default, or the empty value of the kind."""
        return _UNSET.get(self.kind) if self.default is None else self.default

    @property
    def requirement(self) -> str:
        """What a value must be, as errors state it."""
        if self.kind == "effort":
            return f"{', '.join(self.choices)} or a number of tokens"
        if self.choices:
            return f"{'one or more' if self.kind in ('words', 'list') else 'one'} of {', '.join(self.choices)}"
        if self.above is not None:
            return f"greater than {self.above:,}"
        return _NOUNS[self.kind] if self.minimum is None else f"{self.minimum:,} or more"


def option(
    help: str,
    *,
    group: str | None = None,
    kind: Kind = "text",
    flag: str | None = None,
    short: str | None = None,
    doors: str = "flag file python",
    **more: Any,
) -> Any:
    """Declare an option as the default of a class attribute; ``flag`` is its long flag where that is not its name."""
    spellings = tuple(filter(None, (flag, short)))
    return Option("", kind, help, group, flags=spellings, doors=frozenset(doors.split()), **more)


def parse_text(option: Option, text: str, label: str) -> Any:
    """Return the value that a text means, from a flag or a setting.

    ``label`` names the option in errors: ``--retries`` or ``retries``. Raises UsageError.
    """
    match option.kind:
        case "switch" | "tristate":
            return check_value(option, _BOOLEANS.get(text.lower(), text), label)
        case "effort":
            if text == NULL:
                return text
            return check_value(option, int(text) if text.isdecimal() else text, label)
        case "expiry":
            return check_value(option, text or True, label)
        case "words" | "list":
            items = [word.strip() for word in text.split(",") if word.strip()]
            return check_value(option, [] if items == ["none"] else items, label)
        case "pairs":
            return parse_option_pairs(option, [text], label)
        case "integer" | "number":
            return check_value(option, _parse_number(option, text, label), label)
    return check_value(option, text, label)


def _parse_number(option: Option, text: str, label: str) -> float:
    try:
        return int(text) if option.kind == "integer" or text.isdecimal() else float(text)
    except ValueError:
        raise _value_error(label, _NOUNS[option.kind], text) from None


def check_value(option: Option, value: Any, label: str) -> Any:
    """Return a value given in a file or by a program, in the option's own type; raise UsageError for any other.

    An effort may be ``{"budget": 16000}``, as NodeLLM has it.
    """
    if option.kind == "effort" and isinstance(value, Mapping) and value.keys() == {"budget"}:
        value = value["budget"] if isinstance(value["budget"], int) else value
    if not _has_kind(option, value):
        is_closed = option.choices and option.kind not in ("words", "list")
        raise _value_error(label, option.requirement if is_closed else _NOUNS[option.kind], value)
    if option.kind == "text" and value == "" and not option.allows_empty:
        raise UsageError(f"{label} must not be empty", hint="check that the variable it comes from is set")
    for item in value if option.kind in ("words", "list") else (value,):
        if option.choices and isinstance(item, str) and item not in option.choices:
            raise _value_error(label, option.requirement, item)
    if option.kind in ("integer", "number", "effort") and not isinstance(value, str):
        _check_bounds(option, value, label)
    if option.kind in ("pairs", "schema"):
        _require_json(value, label)
    if option.kind == "expiry":
        return _parse_expiry(option, value, label)
    if option.kind == "list":
        return tuple(value)
    if option.decodes:
        from llmctl.core.model_options import check_model_options  # most turns have none

        return check_model_options(value, label)
    return frozenset(value) if option.kind == "words" else value


def _parse_expiry(option: Option, value: str | float, label: str) -> str:
    """Return ``on``, ``off`` or a time such as ``7d``; a number counts seconds."""
    if isinstance(value, bool) or str(value).lower() in _BOOLEANS:
        return "on" if value is True or _BOOLEANS.get(str(value).lower()) else "off"
    text = value.strip().lower() if isinstance(value, str) else f"{value:g}s"
    from llmctl.core.time_ranges import parse_seconds  # only with a cache

    if parse_seconds(text) is None:
        raise _value_error(label, option.requirement, value)
    return text


def check_seconds(value: float | None, label: str) -> float | None:
    """Return a time limit of a command; raise UsageError for one that no turn could have either."""
    return None if value is None else check_value(TURN_OPTIONS["timeout"], value, label)


def _require_json(value: Any, label: str) -> None:
    """Raise UsageError for numbers that JSON does not have; what else JSON lacks fails where it is stored."""
    with suppress(TypeError, RecursionError):
        try:
            json.dumps(value, allow_nan=False)
        except ValueError as error:
            raise UsageError(f"{label} must hold finite numbers only") from error


def _has_kind(option: Option, value: Any) -> bool:
    match option.kind:
        case "switch" | "tristate":
            return isinstance(value, bool)
        case "integer":
            return isinstance(value, int) and not isinstance(value, bool)
        case "number":
            return isinstance(value, int | float) and not isinstance(value, bool)
        case "effort":
            return isinstance(value, str | int) and not isinstance(value, bool)
        case "list" | "words":
            is_series = isinstance(value, list | tuple | set | frozenset)
            return is_series and all(isinstance(item, str) for item in value)
        case "pairs":
            return isinstance(value, Mapping)
        case "schema":
            return isinstance(value, str | Mapping)
        case "expiry":
            return isinstance(value, str | int | float)
    return isinstance(value, str)


def _check_bounds(option: Option, value: float, label: str) -> None:
    if value != value or (option.above is not None and value <= option.above):
        raise _value_error(label, option.requirement, value)
    if option.minimum is not None and value < option.minimum:
        raise _value_error(label, option.requirement, value)
    if option.maximum is not None and value > option.maximum:
        raise _value_error(label, f"at most {option.maximum:,}", value)
    if value == float("inf"):
        raise _value_error(label, "a finite number", value)


def _value_error(label: str, requirement: str, value: Any) -> UsageError:
    from llmctl.core.redaction import mask_keys

    shown = str(value).lower() if isinstance(value, bool) else f"{value:g}" if isinstance(value, float) else str(value)
    return UsageError(f'{label} must be {requirement}, got "{mask_keys(shown)}"')


def parse_option_pairs(option: Option, items: Iterable[str], label: str) -> dict[str, Any]:
    """Parse the ``K=V`` of an option; those of models are checked."""
    return parse_model_options(items, label) if option.decodes else parse_pairs(items, label)


def parse_model_options(items: Iterable[str], label: str) -> dict[str, Any]:
    """Parse ``K=V`` (V is decoded if it is JSON) and ``K:=JSON``, which insists on its name and value.

    Raises UsageError for a misspelled name and for a value of another type.
    """
    from llmctl.core.model_options import check_model_options  # most turns have none

    values: dict[str, Any] = {}
    for item in items:
        mark = ":" if item.partition("=")[0].endswith(":") else ""
        parsed = parse_pairs([item], label, decode=True)
        values |= check_model_options({f"{name}{mark}": value for name, value in parsed.items()}, label)
    return values


def parse_pairs(items: Iterable[str], label: str, *, decode: bool = False) -> dict[str, Any]:
    """Parse ``K=V`` and ``K:=JSON``; with ``decode`` V is decoded if it is JSON (a number, true, a list)."""
    values: dict[str, Any] = {}
    for item in items:
        key, equals, value = item.partition("=")
        if not equals or not key.strip(":"):
            raise _value_error(label, "K=V", item)
        if key.endswith(":"):
            values[key[:-1]] = parse_json(value, f"{label} {key}=")
        else:
            values[key] = _parse_json_or_text(value) if decode else value
    return values


def parse_json(text: str, source: str) -> Any:
    """Parse JSON; raises UsageError that names its ``source``."""
    try:
        return _load_json(text)
    except ValueError as error:
        raise UsageError(f'"{source}" is not valid JSON: {error}') from error


def _parse_json_or_text(value: str) -> Any:
    try:
        return _load_json(value)
    except ValueError:
        return value


def _load_json(text: str) -> Any:
    """Parse standard JSON, which has no NaN or Infinity. Raises ValueError."""
    try:
        value = json.loads(text, parse_constant=_refuse_constant)
    except RecursionError:
        raise ValueError("too deeply nested") from None
    try:
        json.dumps(value, allow_nan=False)
    except ValueError:
        raise ValueError("a number is out of range") from None
    return value


def _refuse_constant(name: str) -> Any:
    raise ValueError(f"{name} is no number of JSON")


class OptionSet:
    """Values of options, immutable. An option that was not given reads as its default."""

    OPTIONS: Mapping[str, Option] = {}

    def __init_subclass__(cls) -> None:
        declared = {}
        for name, entry in [item for item in vars(cls).items() if isinstance(item[1], Option)]:
            spellings = entry.flags
            if "flag" in entry.doors and not (spellings and spellings[0].startswith("--")):
                spellings = (f"--{name.replace('_', '-')}", *spellings)
            declared[name] = entry.replace(name=name, flags=spellings)
            setattr(cls, name, declared[name].unset)
        cls.OPTIONS = declared

    def __init__(self, **values: Any) -> None:
        if unknown := values.keys() - self.OPTIONS.keys():
            raise TypeError(f"{type(self).__name__} has no option {', '.join(sorted(unknown))}")
        self.__dict__.update((name, value) for name, value in values.items() if value is not None)

    def __setattr__(self, name: str, value: Any) -> None:
        raise AttributeError(f"cannot set {name!r}: options are immutable, use replace()")

    def __eq__(self, other: object) -> bool:
        return isinstance(other, OptionSet) and type(other) is type(self) and self.to_dict() == other.to_dict()

    __hash__ = None  # type: ignore[assignment]  # values may be tables

    def __repr__(self) -> str:
        return f"{type(self).__name__}({', '.join(f'{name}={value!r}' for name, value in self.to_dict().items())})"

    def to_dict(self) -> dict[str, Any]:
        """Return the options that were given, by name."""
        return dict(vars(self))

    def replace(self, **changes: Any) -> Self:
        """Return a copy with these values; None takes a value away."""
        return type(self)(**{**vars(self), **changes})

    def only(self, names: Iterable[str]) -> Self:
        """Return a copy with these options only."""
        return type(self)(**{name: value for name, value in vars(self).items() if name in names})

    def over(self, lower: Self) -> Self:
        """Return the options of both. Those of ``self`` win; tables, sets and appending lists are joined."""
        merged = {**vars(lower), **vars(self)}
        for name in vars(lower).keys() & vars(self).keys():
            entry, below, above = self.OPTIONS[name], getattr(lower, name), getattr(self, name)
            if entry.kind == "pairs":
                merged[name] = {**below, **above}
            elif entry.kind == "words":
                merged[name] = below | above
            elif entry.appends:
                merged[name] = (*below, *above)
        return type(self)(**merged)


class TurnOptions(OptionSet):
    """How a turn is run."""

    # Input
    attach: tuple[str, ...] = option(
        "File or URL to attach; - attaches stdin.",
        group="Input", kind="list", metavar="PATH|URL|-", short="-a", keyword="files", appends=True,
    )  # fmt: skip
    stdin: bool | None = option(
        "Read stdin, or never read it. [automatic]",
        group="Input", kind="tristate", flag="--stdin/--no-stdin", doors="flag",
    )  # fmt: skip

    # Model
    model: str | None = option(
        "Model to use: MODEL, CONNECTION:MODEL, a connection or an alias.",
        group="Model", metavar="REF", short="-m", several="models",
    )  # fmt: skip
    models: tuple[str, ...] = option("Models to ask at once.", group="Model", kind="list", doors="")
    connection: str | None = option("Connection to use.", group="Model", metavar="NAME")
    options: Mapping[str, Any] = option(
        "Model option, such as temperature=0.2; K:=JSON sends any name and value.",
        group="Model", kind="pairs", metavar="K=V", flag="--option", short="-o", decodes=True,
    )  # fmt: skip
    thinking: str | int | None = option(
        "Thinking effort: none, low, medium, high or a number of tokens.",
        group="Model", kind="effort", metavar="EFFORT", choices=EFFORTS, minimum=0,
    )  # fmt: skip
    fallback: tuple[str, ...] = option(
        "Model to try if this one is unavailable or out of credit.",
        group="Model", kind="list", metavar="REF",
    )  # fmt: skip

    # Output
    schema: Any = option(
        "Require JSON that matches this schema, such as 'name, age int'.",
        group="Output", kind="schema", metavar="FILE|JSON|DSL",
    )  # fmt: skip
    fix: int = option(
        "Ask the model up to N times to correct invalid JSON.",
        group="Output", kind="integer", metavar="N", minimum=0, default=0,
    )  # fmt: skip
    extract: bool = option(
        "Print only the first fenced code block.",
        group="Output", kind="switch", short="-x", doors="flag file",
    )  # fmt: skip
    plain: bool = option(
        "Print the answer as it comes, not as Markdown.", group="Output", kind="switch", doors="flag setting"
    )
    show_thinking: bool = option("Print the model's thinking to stderr.", group="Output", kind="switch", doors="flag")
    no_stream: bool = option("Request the whole answer at once.", group="Output", kind="switch", keyword="stream")
    output: str | None = option(
        "Write the answer to FILE when it is complete.", group="Output", metavar="FILE", doors="flag"
    )
    usage: bool = option(
        "Print tokens, cost and time to stderr.", group="Output", kind="switch", short="-u", doors="flag"
    )
    dry_run: bool = option(
        "Print the request without the API key; send nothing.", group="Output", kind="switch", doors="flag"
    )
    detach: bool = option("Run in the background; print the job id.", group="Output", kind="switch", doors="flag")

    # Tools
    tools: tuple[str, ...] = option(
        "Tool to offer: automatic, user-permitted or denied.",
        group="Tools", kind="list", metavar="NAME[:PERMISSION]", flag="--tool", short="-T", appends=True,
    )  # fmt: skip
    approve: tuple[str, ...] = option(
        "Run this tool without asking, in this command.",
        group="Tools", kind="list", metavar="NAME", doors="flag python", appends=True,
    )  # fmt: skip

    # Conversation
    history: int | None = option(
        "Send only the last N turns.", group="Conversation", kind="integer", metavar="N", minimum=0
    )

    # Limits
    max_steps: int = option(
        "Maximum number of model calls in a turn.",
        group="Limits", kind="integer", metavar="N", minimum=1, default=20, doors="flag file python setting",
    )  # fmt: skip
    max_cost: float | None = option(
        "Refuse any request that could push the total above USD.",
        group="Limits", kind="number", metavar="USD", minimum=0,
    )  # fmt: skip
    timeout: float | None = option(
        "Time limit, including all retries.",
        group="Limits", kind="number", metavar="SECONDS", above=0, maximum=MAX_SECONDS,
        doors="flag file python setting",
    )  # fmt: skip
    retries: int = option(
        "Retries after a failed attempt.",
        group="Limits", kind="integer", metavar="N", minimum=0, default=2, doors="flag file python setting",
    )  # fmt: skip
    wait: float = option(
        "How long to wait for another process to release the chat.",
        group="Limits", kind="number", metavar="SECONDS", minimum=0, maximum=MAX_SECONDS, default=0,
        doors="flag python",
    )  # fmt: skip

    # Storage
    cache: str | None = option(
        "Use the stored answer of an equal request, at most TTL old.",
        group="Storage", kind="expiry", metavar="TTL", has_optional_value=True, doors="flag file python setting",
    )  # fmt: skip
    refresh: bool = option(
        "Ask again, and use the new answer from now on.", group="Storage", kind="switch", doors="flag python"
    )
    cached_only: bool = option(
        "Only use stored answers; send nothing.", group="Storage", kind="switch", doors="flag python"
    )
    metadata: Mapping[str, Any] = option(
        "Add metadata to the chat, or set a custom column of that name.",
        group="Storage", kind="pairs", metavar="K=V|K:=JSON",
    )  # fmt: skip
    fields: Mapping[str, Any] = option(
        "Set a custom column of the chat.",
        group="Storage", kind="pairs", metavar="K=V", flag="--field", doors="flag",
    )  # fmt: skip
    references: Mapping[str, Any] = option(
        "Link the chat to another record.",
        group="Storage", kind="pairs", metavar="K=ID", flag="--reference", doors="flag python",
    )  # fmt: skip
    tag: str | None = option("Tag the requests.", group="Storage", metavar="TEXT")
    no_persist: frozenset[str] = option(
        "Delete afterwards: tool-calls, requests, network, streams.",
        group="Storage", kind="words", metavar="KINDS", choices=ROW_KINDS, doors="flag",
    )  # fmt: skip
    rollback: bool = option(
        "Discard an incomplete answer instead of keeping its text.",
        group="Storage", kind="switch", doors="flag python setting",
    )  # fmt: skip

    @property
    def uses_cache(self) -> bool:
        """Whether the answer of an earlier request may be used, or this one's later."""
        return self.cached_only or self.refresh or self.cache not in (None, "off")


#: By name, in the order of the help.
TURN_OPTIONS: Mapping[str, Option] = TurnOptions.OPTIONS


def options_for(door: str) -> tuple[Option, ...]:
    """Return the options that may be set there: "flag", "file", "python" or "setting"."""
    return tuple(entry for entry in TURN_OPTIONS.values() if door in entry.doors)


#: Words for the kinds of settings, as ``settings list`` prints them.
_TYPES = {
    "switch": "boolean",
    "integer": "whole number",
    "number": "number",
    "list": "list",
    "text": "text",
    "expiry": "duration",
}


class Setting(Value):
    """One setting."""

    option: Option
    #: Whether it is a column of ``user_settings``.
    is_column: bool = False

    @property
    def name(self) -> str:
        return self.option.name

    @property
    def type(self) -> str:
        return _TYPES[self.option.kind]

    @property
    def default(self) -> Any:
        """Its built-in value; None if there is none."""
        default = self.option.unset
        return list(default) if isinstance(default, tuple) else default

    @property
    def help(self) -> str:
        if not self.option.flags:
            return self.option.help
        text = self.option.help.rstrip(".")
        return f"{text[:1].lower()}{text[1:]} ({self.option.flags[0]})"


def _setting(name: str, help: str, kind: Kind = "text", *, is_column: bool = False, **more: Any) -> Setting:
    return Setting(Option(name, kind, help, **more), is_column)


_AUDIT_WORDS = ("script", "folder", "git", "host")
_ALL = (
    _setting("default_connection", "connection to use if none is given"),
    *map(Setting, options_for("setting")),
    _setting("budget.day", "maximum cost of all requests of a day (UTC), in US dollars", "number", minimum=0),
    _setting("budget.month", "maximum cost of all requests of a month (UTC), in US dollars", "number", minimum=0),
    _setting(
        "audit.context",
        "what to record about the caller of a request; none for nothing",
        "list",
        default=_AUDIT_WORDS,
        choices=_AUDIT_WORDS,
    ),
    _setting("chat.keys", "keys of the line editor of chat", default="emacs", choices=("emacs", "vi")),
    _setting("stream.keep", "keep the raw bytes of finished streams", "switch", default=True),
    _setting(
        "pending.expiry", "days until a tool call that waits for approval is denied", "number", default=7, minimum=0
    ),
    _setting("permission.expiry", "days until always and never decisions expire", "number", default=30, minimum=0),
    _setting(
        "theme", "colors of user interfaces", default="system", choices=("system", "light", "dark"), is_column=True
    ),
    _setting("sidebar_open", "whether user interfaces show the sidebar", "switch", default=True, is_column=True),
    _setting("last_page", "last page shown in a user interface", default="", allows_empty=True, is_column=True),
    _setting("bootstrapped", "whether llmctl init was run", "switch", is_column=True),
)

SETTINGS: Mapping[str, Setting] = {setting.name: setting for setting in _ALL}


def get_setting(name: str) -> Setting:
    """Return the setting of that name (``-`` counts as ``_``); raise UsageError with similar names if there is none."""
    found = SETTINGS.get(name.replace("-", "_"))
    if found is None:
        raise unknown_name_error("setting", name, SETTINGS)
    return found


def parse(setting: Setting, text: str) -> Any:
    """Return the value of a text; raise UsageError if it does not fit the setting."""
    value = parse_text(setting.option, text, setting.name)
    return list(value) if isinstance(value, tuple) else value
