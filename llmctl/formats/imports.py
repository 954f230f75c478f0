"""Import formats of other programs. Each module has a ``FORMAT`` that recognises and reads its documents."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Any

from llmctl.core.imported_conversation import ImportedConversation, SkippedItems
from llmctl.core.registry import Registry
from llmctl.core.values import Value


class Format(Value):
    """``fits`` returns whether a document is a conversation of this format; ``read`` yields it, and what is skipped.

    ``read`` raises ValueError, TypeError, KeyError or AttributeError for an invalid document.
    """

    fits: Callable[[Any], bool]
    read: Callable[[Mapping[str, Any]], Iterator[ImportedConversation | SkippedItems]]
    #: For formats whose documents are the lines of a conversation: reads all of a file, in place of ``read``.
    read_lines: Callable[[Iterator[Any]], Iterator[ImportedConversation | SkippedItems]] | None = None


IMPORTS: Registry[Format] = Registry(
    "format",
    "llmctl.formats",
    {
        "chatgpt": "chatgpt:FORMAT",
        "claude": "claude:FORMAT",
        "openai": "openai_import:FORMAT",
        "sharegpt": "sharegpt_import:FORMAT",
    },
    group="llmctl.imports",
    wanted=Format,
)
