"""Conversations that are trees: an answer was made anew, a question was put otherwise. Branches of them, in order."""

from __future__ import annotations

from collections.abc import Iterator, Mapping


def branches(parents: Mapping[str, str | None], current: str | None) -> Iterator[tuple[list[str], int]]:
    """Yield the path to each leaf, from the root, and how much of it is the first path's; the current one is first.

    ``parents`` are in the order they were made. A node whose parent is not there is a root; circles are cut.
    """
    inner = {parent for parent in parents.values() if parent is not None}
    leaves = [node for node in parents if node not in inner]
    first = current if current in parents else leaves[-1] if leaves else next(iter(parents), None)
    if first is None:
        return
    main = path(parents, first)
    yield main, len(main)
    on_main = set(main)
    for leaf in leaves:
        if leaf not in on_main:
            branch = path(parents, leaf)
            yield branch, sum(1 for node in branch if node in on_main)


def path(parents: Mapping[str, str | None], leaf: str) -> list[str]:
    """Return the nodes from the root to a leaf."""
    found: dict[str, None] = {}
    node: str | None = leaf
    while node is not None and node in parents and node not in found:
        found[node] = None
        node = parents[node]
    return list(found)[::-1]
