"""The one family of errors. Each member knows its exit code; only ``cli/main.py`` catches them all."""

from __future__ import annotations


class LlmctlError(Exception):
    """A failure the user can understand.

    ``message`` is lower case, without a full stop, with the offending value quoted; ``hint`` says what to do;
    ``reason`` is finer than ``code`` (``rate_limit``, ``context_length`` ...). The two ids are set as soon as the
    rows they name exist.
    """

    code = "error"
    exit_code = 1
    retryable = False

    def __init__(
        self,
        message: str,
        *,
        hint: str | None = None,
        reason: str | None = None,
        status_code: int | None = None,
        retry_after: float | None = None,
    ) -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint
        self.reason = reason
        #: HTTP status of the answer that said so, where there was one.
        self.status_code = status_code
        #: Seconds the server asked us to wait before trying again.
        self.retry_after = retry_after
        self.chat_id: str | None = None
        self.request_id: str | None = None


class UsageError(LlmctlError):
    """Bad flags or values."""

    code = "usage"
    exit_code = 2


class NotFoundError(LlmctlError):
    """No such, or no single, chat, connection, agent, tool, file; or a model the provider does not know."""

    code = "not-found"
    exit_code = 3


class ConfigError(LlmctlError):
    """No hub, no connection, no key; or the provider does not accept the key."""

    code = "config"
    exit_code = 4


class RejectedError(LlmctlError):
    """The provider refused the request."""

    code = "rejected"
    exit_code = 5


class UnavailableError(LlmctlError):
    """Network, time-out, 429, 5xx, a page that is no answer: trying again may help."""

    code = "unavailable"
    exit_code = 6
    retryable = True


class BudgetError(LlmctlError):
    """A cap would be exceeded, or the account has no money left."""

    code = "budget"
    exit_code = 7


class PendingError(LlmctlError):
    """Waits for a person, for a job, or for another step."""

    code = "pending"
    exit_code = 8


class LockedError(LlmctlError):
    """Another live job holds the thread."""

    code = "locked"
    exit_code = 9
    retryable = True


class DeniedError(LlmctlError):
    """A denied tool was invoked directly, or the person stopped the run."""

    code = "denied"
    exit_code = 10


class InvalidOutputError(LlmctlError):
    """The answer, or a tool's arguments, do not meet the schema."""

    code = "invalid-output"
    exit_code = 11


class IncompleteError(LlmctlError):
    """The answer broke off; what came is kept."""

    code = "incomplete"
    exit_code = 12


class StorageError(LlmctlError):
    """The hub cannot be read or written."""

    code = "storage"
    exit_code = 13


#: Every exit code with its name, for help, README and tests.
EXIT_CODES: dict[int, str] = {0: "ok"} | {
    kind.exit_code: kind.code
    for kind in (
        LlmctlError,
        UsageError,
        NotFoundError,
        ConfigError,
        RejectedError,
        UnavailableError,
        BudgetError,
        PendingError,
        LockedError,
        DeniedError,
        InvalidOutputError,
        IncompleteError,
        StorageError,
    )
}
