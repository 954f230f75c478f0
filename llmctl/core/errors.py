"""All errors of llmctl. Each class has an exit code; only ``cli/main.py`` catches them all."""

from __future__ import annotations


class LlmctlError(Exception):
    """A failure the user can understand.

    ``message`` is lower case, without a full stop, with the offending value quoted; ``hint`` says what to do;
    ``reason`` is more specific than ``code`` (``rate_limit``, ``context_length`` ...). ``chat_id`` and
    ``request_id`` are set as soon as their rows exist.
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
        #: HTTP status of the response that caused the error, if any.
        self.status_code = status_code
        #: Seconds to wait before a retry, as requested by the server.
        self.retry_after = retry_after
        self.chat_id: str | None = None
        self.request_id: str | None = None


class UsageError(LlmctlError):
    """Bad flags or values."""

    code = "usage"
    exit_code = 2


class NotFoundError(LlmctlError):
    """A chat, connection, agent, tool or file is missing or ambiguous, or the provider does not know the model."""

    code = "not-found"
    exit_code = 3


class ConfigError(LlmctlError):
    """No hub, no connection or no key, or the provider rejects the key."""

    code = "config"
    exit_code = 4


class RejectedError(LlmctlError):
    """The provider rejected the request."""

    code = "rejected"
    exit_code = 5


class UnavailableError(LlmctlError):
    """Network failure, timeout, 429, 5xx or a web page instead of a response: a retry may help."""

    code = "unavailable"
    exit_code = 6
    retryable = True


class BudgetError(LlmctlError):
    """A cost limit would be exceeded, or the account is out of credit."""

    code = "budget"
    exit_code = 7


class PendingError(LlmctlError):
    """Waiting for approval, for a job or for another step."""

    code = "pending"
    exit_code = 8


class LockedError(LlmctlError):
    """A running job holds the lock of the thread."""

    code = "locked"
    exit_code = 9
    retryable = True


class DeniedError(LlmctlError):
    """A denied tool was invoked directly, or the user stopped the run."""

    code = "denied"
    exit_code = 10


class InvalidOutputError(LlmctlError):
    """The answer or a tool's arguments do not match the schema."""

    code = "invalid-output"
    exit_code = 11


class IncompleteError(LlmctlError):
    """The answer was interrupted; the partial answer is stored."""

    code = "incomplete"
    exit_code = 12


class StorageError(LlmctlError):
    """The hub cannot be read or written."""

    code = "storage"
    exit_code = 13


class PartialError(LlmctlError):
    """Some of many items succeeded, others failed."""

    code = "partial"
    exit_code = 14


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
        PartialError,
    )
}
