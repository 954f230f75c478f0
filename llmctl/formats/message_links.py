"""How messages of a source hang together: branches of a tree, and tool results with their calls."""

from __future__ import annotations

from collections.abc import Iterator, Mapping


def iter_branches(parents: Mapping[str, str | None], current: str | None) -> Iterator[tuple[list[str], int]]:
    """Yield the path from the root to each leaf, and how many nodes it shares with the first path.

    The current path comes first. ``parents`` is in order of creation. A node with an unknown parent is a root; cycles
    are cut.
    """
    inner = {parent for parent in parents.values() if parent is not None}
    leaves = [node for node in parents if node not in inner]
    first = current if current in parents else leaves[-1] if leaves else next(iter(parents), None)
    if first is None:
        return
    main = path_to(parents, first)
    yield main, len(main)
    on_main = set(main)
    for leaf in leaves:
        if leaf not in on_main:
            branch = path_to(parents, leaf)
            yield branch, sum(1 for node in branch if node in on_main)


def path_to(parents: Mapping[str, str | None], leaf: str) -> list[str]:
    """Return the nodes from the root to a leaf."""
    found: dict[str, None] = {}
    node: str | None = leaf
    while node is not None and node in parents and node not in found:
        found[node] = None
        node = parents[node]
    return list(found)[::-1]


class OpenCalls:
    """The calls of a conversation without a result, in order: a result belongs to one of the last group of calls."""

    def __init__(self) -> None:
        #: Name and id of each open call.
        self._open: list[tuple[str, str]] = []
        self._is_answered = False

    def add(self, id: str | None, name: str, default_id: str) -> str:
        """Record a call; return its id: the source's, else the default, which must be unique in the conversation."""
        if self._is_answered:
            self._open, self._is_answered = [], False
        self._open.append((name, id or default_id))
        return id or default_id

    def answer(self, id: str | None, name: str | None = None) -> str:
        """Return the id of the call that a result belongs to; empty if there is none.

        A result without an id answers the first open call of its name, else the first open call.
        """
        self._is_answered = True
        if id:
            self._open = [call for call in self._open if call[1] != id]
            return id
        named = [call for call in self._open if call[0] == name]
        found = next(iter(named or self._open), None)
        if found is None:
            return ""
        self._open.remove(found)
        return found[1]
