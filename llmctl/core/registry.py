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
    takes its ``WIRE`` when that name is asked for, not before.
    """

    def __init__(
        self,
        kind: str,
        package: str,
        entries: Mapping[str, str],
        *,
        error: Callable[..., LlmctlError] = UsageError,
    ) -> None:
        self._kind = kind
        self._package = package
        self._entries = entries
        self._error = error

    def names(self) -> tuple[str, ...]:
        return tuple(self._entries)

    def __contains__(self, name: object) -> bool:
        return name in self._entries

    def load(self, name: str) -> T:
        """Import and return the thing of that name; an unknown name is an error that suggests near ones."""
        if name not in self._entries:
            raise unknown(self._kind, name, self._entries, error=self._error)
        module, _, attribute = self._entries[name].partition(":")
        thing: T = getattr(import_module(f"{self._package}.{module}"), attribute)
        return thing


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
