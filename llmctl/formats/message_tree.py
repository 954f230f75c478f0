"""Branches of conversations that are trees, because answers were regenerated or prompts edited."""

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
