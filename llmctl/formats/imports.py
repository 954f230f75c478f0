"""Formats of other programs' conversations. Each file has a ``FORMAT``: what tells its documents, and reads one."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Any, NamedTuple

from llmctl.core.imported_conversation import History, Passed
from llmctl.core.registry import Registry


class Format(NamedTuple):
    """``fits`` tells whether a document is one conversation of this kind; ``read`` yields it, and what it leaves out.

    ``read`` raises ValueError, TypeError, KeyError or AttributeError for a document that is broken.
    """

    fits: Callable[[Any], bool]
    read: Callable[[Mapping[str, Any]], Iterator[History | Passed]]


IMPORTS: Registry[Format] = Registry(
    "format",
    "llmctl.formats",
    {
        "chatgpt": "chatgpt:FORMAT",
        "claude": "claude:FORMAT",
        "openai": "openai_in:FORMAT",
        "sharegpt": "sharegpt_in:FORMAT",
    },
    group="llmctl.imports",
    wanted=Format,
)
