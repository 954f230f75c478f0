"""Objects whose modules are imported on first use: registries of names, and single functions."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from importlib import import_module
from typing import Any, Generic, TypeVar

from llmctl.core.errors import LlmctlError, UsageError

T = TypeVar("T")


class LazyFunction:
    """A function whose module is imported when it is called: keeps what few runs need off the path of the others."""

    def __init__(self, path: str) -> None:
        #: ``package.module:function``.
        self._path = path

    def __call__(self, *arguments: Any, **options: Any) -> Any:
        module, _, name = self._path.partition(":")
        return getattr(import_module(module), name)(*arguments, **options)


class Registry(Generic[T]):
    """Maps names of one kind to objects in modules.

    ``Registry("wire", "llmctl.wire", {"anthropic": "anthropic:WIRE"})`` imports ``llmctl.wire.anthropic`` and
    returns its ``WIRE`` when that name is loaded, not before. With a ``group``, other packages may add objects of
    type ``wanted`` by entry points; these are only looked up for names that are not in the table.
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
        self._plugins: dict[str, T | None] = {}
        self._kind = kind
        self._package = package
        self._entries = entries
        self._error = error

    def names(self) -> tuple[str, ...]:
        """Return our own names, without plug-ins."""
        return tuple(self._entries)

    def __contains__(self, name: object) -> bool:
        return name in self._entries or (isinstance(name, str) and self._find_plugin(name) is not None)

    def load(self, name: str) -> T:
        """Import and return the object of that name; the error for an unknown name suggests similar ones."""
        if name not in self._entries:
            plugin = self._find_plugin(name)
            if plugin is None:
                raise unknown_name_error(self._kind, name, {*self._entries, *self._plugin_names()}, error=self._error)
            return plugin
        module, _, attribute = self._entries[name].partition(":")
        entry: T = getattr(import_module(f"{self._package}.{module}"), attribute)
        return entry

    def _find_plugin(self, name: str) -> T | None:
        """Return the plug-in of that name, None if there is none; raise ConfigError if it is broken."""
        if self._group is None or not name:
            return None
        if name not in self._plugins:
            from llmctl.core import plugins  # imports importlib.metadata: only for names that are not ours

            self._plugins[name] = plugins.load(self._group, name, self._wanted)
        return self._plugins[name]

    def _plugin_names(self) -> tuple[str, ...]:
        from llmctl.core import plugins

        return plugins.list_names(self._group) if self._group else ()


def unknown_name_error(
    kind: str, name: str, names: Iterable[str], *, error: Callable[..., LlmctlError] = UsageError
) -> LlmctlError:
    """Return the error for an unknown name, with similar names (or all names) as the hint."""
    from difflib import get_close_matches  # an error path; difflib is slow to import

    known = sorted(names)
    near = get_close_matches(name, known, n=3)
    suggestions = ", ".join(near or known)
    lead = "did you mean" if near else "available:"
    return error(f'no {kind} "{name}"', hint=f"{lead} {suggestions}" + ("?" if near else "") if suggestions else None)


def load_all(registry: Registry[Any]) -> dict[str, Any]:
    """Load every entry: for listings and tests, never on the path of a command."""
    return {name: registry.load(name) for name in registry.names()}
