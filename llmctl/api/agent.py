"""Agents as Python classes, and functions as tools. Light to import: every process that runs such a tool needs it."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import update_wrapper
from typing import Any, ClassVar, Generic, ParamSpec, TypeVar, overload

from llmctl.api.keywords import AgentAttributes
from llmctl.api.middleware import Middleware
from llmctl.core.tools import Halt

__all__ = ["Agent", "FunctionTool", "Halt", "tool"]

P = ParamSpec("P")
R = TypeVar("R")


class FunctionTool(Generic[P, R]):
    """A function that a model may call, created by :func:`tool`; it can still be called like the function."""

    def __init__(
        self,
        function: Callable[P, R],
        *,
        name: str | None = None,
        description: str | None = None,
        schema: Mapping[str, Any] | None = None,
        permission: str = "automatic",
        timeout: float | None = None,
    ) -> None:
        self.function = function
        self.name: str = name or function.__name__
        self.description = description
        self.schema = schema
        self.permission = permission
        self.timeout = timeout
        update_wrapper(self, function)

    def __call__(self, *args: P.args, **kwargs: P.kwargs) -> R:
        return self.function(*args, **kwargs)

    def __repr__(self) -> str:
        return f"<tool {self.name}>"


@overload
def tool(function: Callable[P, R], /) -> FunctionTool[P, R]: ...
@overload
def tool(
    *,
    name: str | None = None,
    description: str | None = None,
    schema: Mapping[str, Any] | None = None,
    permission: str = "automatic",
    timeout: float | None = None,
) -> Callable[[Callable[P, R]], FunctionTool[P, R]]: ...
def tool(function: Callable[..., Any] | None = None, /, **more: Any) -> Any:
    """Make a function a tool: parameters come from the signature, the description from the docstring.

    ``permission`` is ``automatic`` (the default), ``user-permitted`` or ``denied``. ``timeout`` is in seconds. A tool
    may return or raise :class:`Halt` to end the run with a final answer. It runs in a thread; an ``async def`` runs
    in its own event loop.

    >>> @tool
    ... def lookup_order(order_id: str) -> dict:
    ...     '''Look up the status of an order.
    ...
    ...     order_id: number of the order
    ...     '''
    ...     return {"order": order_id, "status": "shipped"}
    >>> lookup_order("789")
    {'order': '789', 'status': 'shipped'}
    """
    return FunctionTool(function, **more) if function else lambda function: FunctionTool(function, **more)


class Agent(AgentAttributes, Middleware):
    """Base class of agents: derive from it and set its attributes. Sessions live in the hub and survive the process.

    ``instructions`` is a text, a jinja2 template over the session's metadata, or a function of the metadata.
    ``tools`` are functions, tools made by :func:`tool`, and names of tools in the hub as ``NAME`` or
    ``NAME:PERMISSION``. The hooks of :class:`Middleware` can be methods of the class.

    Whoever starts a turn permits its tools. A program permits what it passes: its functions run, unless the class
    narrows that (``@tool(permission="user-permitted")``). From a shell (``llmctl agent run FILE.py``) the class is a
    file, which may narrow permissions and never grant them: its tools wait for a decision until the user gives one
    with ``--approve``, ``agent attach AGENT TOOL:auto`` or on the terminal.

    >>> class Support(Agent):
    ...     model = "echo"
    ...     instructions = "You help {{ user }}."
    >>> class Friendly(Support):
    ...     options = {"temperature": 1}
    >>> Friendly.agent_name(), Friendly.words()["model"]
    ('Friendly', 'echo')
    """

    #: Name in the hub; by default the name of the class.
    name: ClassVar[str | None] = None
    description: ClassVar[str | None] = None
    instructions: ClassVar[Any] = None
    #: Names of agents in the hub that it may call.
    agents: ClassVar[Sequence[str]] = ()

    @classmethod
    def agent_name(cls) -> str:
        """Return the agent's name in the hub."""
        return cls.__dict__.get("name") or cls.__name__

    @classmethod
    def words(cls) -> dict[str, Any]:
        """Return the definition, including inherited attributes, in the form of an agent file."""
        values = {word: getattr(cls, word, None) for word in _definition_keys()}
        values["description"] = values["description"] or _first_line(cls.__dict__.get("__doc__"))
        values = {word: list(value) if isinstance(value, tuple) else value for word, value in values.items()}
        return {"name": cls.agent_name(), **{w: value for w, value in values.items() if value not in (None, [], {})}}

    @classmethod
    def instructed(cls, metadata: Mapping[str, Any]) -> str | None:
        """Return the instructions; if they are a function, call it with the session's metadata."""
        raw = next((vars(kind)["instructions"] for kind in cls.__mro__ if "instructions" in vars(kind)), None)
        if raw is None or isinstance(raw, str):
            return raw
        if isinstance(raw, (staticmethod, classmethod)):
            return str(cls.instructions(metadata))
        takes_self = raw.__code__.co_argcount > 1
        return str(raw(cls(), metadata) if takes_self else raw(metadata))

    @classmethod
    def has_fixed_instructions(cls) -> bool:
        """Return whether the instructions are a text rather than a function."""
        return cls.instructions is None or isinstance(cls.instructions, str)


def _first_line(text: str | None) -> str | None:
    return text.strip().partition("\n")[0] if text and text.strip() else None


def _definition_keys() -> tuple[str, ...]:
    """Return the attributes that define an agent besides its name, instructions and tools.

    They are the options that are keys of files and keywords of the API alike.
    """
    from llmctl.core.options import options_for  # programs that only define tools do not need it

    options = [entry.name for entry in options_for("file") if "python" in entry.doors and not entry.keyword]
    return ("description", "agents", *(name for name in options if name not in ("tools", "metadata")))
