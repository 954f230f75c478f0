"""Whatever there can be many of: names in a table of strings, imported only when asked for."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from importlib import import_module
from typing import Any, Generic, TypeVar

from llmctl.core.errors import LlmctlError, UsageError

T = TypeVar("T")


class Registry(Generic[T]):
    """Names of one kind of thing and the module of each.

    ``Registry("wire", "llmctl.wire", {"anthropic": "anthropic:WIRE"})`` imports ``llmctl.wire.anthropic`` and
    takes its ``WIRE`` when that name is asked for, not before. Where a ``group`` is named, other packages may add
    things of the type ``wanted`` by entry points: they are looked at only for a name that is not here.
    """

    def __init__(
        self,
        kind: str,
        package: str,
        entries: Mapping[str, str],
        *,
        error: Callable[..., LlmctlError] = UsageError,
        group: str | None = None,
        wanted: type = object,
    ) -> None:
        self._group = group
        self._wanted = wanted
        self._added: dict[str, T | None] = {}
        self._kind = kind
        self._package = package
        self._entries = entries
        self._error = error

    def names(self) -> tuple[str, ...]:
        """Return our own names; what other packages add is not among them."""
        return tuple(self._entries)

    def __contains__(self, name: object) -> bool:
        return name in self._entries or (isinstance(name, str) and self._plug_in(name) is not None)

    def load(self, name: str) -> T:
        """Import and return the thing of that name; an unknown name is an error that suggests near ones."""
        if name not in self._entries:
            added = self._plug_in(name)
            if added is None:
                raise unknown(self._kind, name, {*self._entries, *self._plug_ins()}, error=self._error)
            return added
        module, _, attribute = self._entries[name].partition(":")
        thing: T = getattr(import_module(f"{self._package}.{module}"), attribute)
        return thing

    def _plug_in(self, name: str) -> T | None:
        """Return what another package gives under that name; raise ConfigError where that is broken."""
        if self._group is None or not name:
            return None
        if name not in self._added:
            from llmctl.core import plugins  # which opens importlib.metadata: only for a name that is not ours

            self._added[name] = plugins.load(self._group, name, self._wanted)
        return self._added[name]

    def _plug_ins(self) -> tuple[str, ...]:
        from llmctl.core import plugins

        return plugins.names(self._group) if self._group else ()


def unknown(
    kind: str, name: str, names: Iterable[str], *, error: Callable[..., LlmctlError] = UsageError
) -> LlmctlError:
    """Return the error for an unknown name, with near ones (or all there are) as the hint."""
    from difflib import get_close_matches  # an error path; difflib is slow to import

    known = sorted(names)
    near = get_close_matches(name, known, n=3)
    listed = ", ".join(near or known)
    lead = "did you mean" if near else "there are"
    return error(f'no {kind} "{name}"', hint=f"{lead} {listed}" + ("?" if near else "") if listed else None)


def loaded_all(registry: Registry[Any]) -> dict[str, Any]:
    """Load every entry: for listings and tests, never on the way of a command."""
    return {name: registry.load(name) for name in registry.names()}
