"""Why a connection failed, read from the system's own exceptions."""

from __future__ import annotations

import socket
import ssl
from collections.abc import Iterator

from llmctl.core.errors import LlmctlError, UnavailableError


def final(error: LlmctlError) -> LlmctlError:
    """Mark an error as not worth another attempt."""
    error.retryable = False
    return error


def connection_failure(error: BaseException, place: str) -> LlmctlError | None:
    """Return what the causes behind a foreign exception say; None where they say nothing.

    ``place`` is ``host:port``, all of the address that a message may show.
    """
    for cause in _causes(error):
        match cause:
            case socket.gaierror():
                return UnavailableError(
                    f'cannot find host "{place.rpartition(":")[0]}"',
                    reason="dns",
                    hint="check the base url of the connection, and the network",
                )
            case ssl.SSLCertVerificationError():
                return final(
                    UnavailableError(
                        f"the certificate of {place} is not accepted: {cause.verify_message}",
                        reason="tls",
                        hint="a company's proxy? name its certificates in SSL_CERT_FILE",
                    )
                )
            case ssl.SSLEOFError() | ssl.SSLZeroReturnError():
                return UnavailableError(f"{place} closed the connection", reason="cut")
            case ssl.SSLError():
                return UnavailableError(f"no secure connection to {place}: {cause.reason}", reason="tls")
            case ConnectionRefusedError():
                return UnavailableError(
                    f"{place} refused the connection", reason="refused", hint="is the server running there?"
                )
            case ConnectionResetError() | BrokenPipeError():
                return UnavailableError(f"{place} reset the connection", reason="reset")
    return None


def _causes(error: BaseException | None) -> Iterator[BaseException]:
    """Yield an exception and what lies behind it, deepest first."""
    chain: list[BaseException] = []
    while error is not None and error not in chain:
        chain.append(error)
        error = error.__cause__ or error.__context__
    yield from reversed(chain)
