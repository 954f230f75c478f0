"""The provider's side of batches: send the calls of a protocol, again where that cannot submit anything twice."""

from __future__ import annotations

from collections.abc import Mapping

from llmctl.core.errors import LlmctlError, UsageError
from llmctl.core.http import HttpRequest
from llmctl.core.redaction import Redaction
from llmctl.engine.connections.target import ResolvedEndpoint, Target
from llmctl.engine.runtime import RuntimeEnv
from llmctl.transport import client
from llmctl.transport.retry import RetryPolicy
from llmctl.wire import WIRES
from llmctl.wire.batches import BATCHES, BatchProtocol, BatchState, HttpReply

#: Reasons of errors after which a provider cannot have taken anything in.
_UNSENT_REASONS = ("dns", "refused", "tls", "offline", "redirect", "rate_limit")
#: Codes of errors with which a provider refuses what was sent.
_REFUSING_CODES = ("rejected", "config", "budget", "not-found", "usage")


def find_protocol(target: Target) -> BatchProtocol | None:
    """Return the batch API of a target, or None."""
    name = target.provider.batches
    return BATCHES.load(name) if name else None


def require_protocol(target: Target) -> BatchProtocol:
    """Return the batch API of a target; raise UsageError where it has none."""
    protocol = find_protocol(target)
    if protocol is None:
        name = target.connection or target.provider.name
        raise UsageError(f'"{name}" has no batch API', hint="send the rows at once: leave out --via batch")
    return protocol


class BatchHost:
    """Sends the calls of one batch API."""

    def __init__(self, target: Target, resolved: ResolvedEndpoint, runtime: RuntimeEnv, retries: int = 2) -> None:
        self.protocol = require_protocol(target)
        self.provider = target.provider.name
        self.endpoint = resolved.endpoint
        self.redact = Redaction(resolved.secrets)
        self._wire = WIRES.load(target.wire)
        self._runtime = runtime
        self._policy = RetryPolicy(retries=retries)
        #: Seconds until the provider wants to be asked again, as its last reply says.
        self.poll_after_s: float | None = None

    def send(self, request: HttpRequest) -> HttpReply:
        """Send a call and return its reply. What only reads is sent again while that may help.

        Raises the error of an unsuccessful status.
        """
        number = 1
        while True:
            try:
                return self._send_once(request)
            except LlmctlError as error:
                self.redact.error(error)
                is_safe = request.method == "GET" or was_refused(error)
                delay_s = self._policy.delay_s(number, error.retry_after, is_rate_limit=error.reason == "rate_limit")
                if not (is_safe and error.retryable and error.reason != "offline") or delay_s is None:
                    raise
                self._runtime.sleep(delay_s)
                number += 1

    def get_state(self, remote_id: str) -> BatchState:
        """Return the state of a batch."""
        return self.protocol.parse_state(self.send(self.protocol.build_state_request(self.endpoint, remote_id)))

    def cancel(self, remote_id: str) -> BatchState:
        """Ask the provider to end a batch, and return its state."""
        self.send(self.protocol.build_cancel_request(self.endpoint, remote_id))
        return self.get_state(remote_id)

    def _send_once(self, request: HttpRequest) -> HttpReply:
        offline, interrupt = self._runtime.offline, self._runtime.interrupt
        with client.send_request(request, loopback_only=offline, interrupt=interrupt) as response:
            body = b"".join(response.chunks)
            if not 200 <= response.status < 300:
                raise self._wire.parse_error(response.status, response.headers, body)
            self.poll_after_s = _parse_seconds(response.headers)
            return HttpReply(response.headers, body)


def was_refused(error: LlmctlError) -> bool:
    """Return whether an error proves that the provider took nothing in."""
    return error.code in _REFUSING_CODES or error.reason in _UNSENT_REASONS


def _parse_seconds(headers: Mapping[str, str]) -> float | None:
    try:
        return max(0.0, float(headers.get("retry-after", "")))
    except ValueError:
        return None
