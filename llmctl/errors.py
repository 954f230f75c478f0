"""All errors that llmctl raises, for programs that use it as a library; the base class is ``LlmctlError``."""

from __future__ import annotations

from llmctl.core.errors import (
    EXIT_CODES,
    BudgetError,
    ConfigError,
    DeniedError,
    IncompleteError,
    InvalidOutputError,
    LlmctlError,
    LockedError,
    NotFoundError,
    PartialError,
    PendingError,
    RejectedError,
    StorageError,
    UnavailableError,
    UsageError,
)

__all__ = [
    "EXIT_CODES",
    "BudgetError",
    "ConfigError",
    "DeniedError",
    "IncompleteError",
    "InvalidOutputError",
    "LlmctlError",
    "LockedError",
    "NotFoundError",
    "PartialError",
    "PendingError",
    "RejectedError",
    "StorageError",
    "UnavailableError",
    "UsageError",
]
