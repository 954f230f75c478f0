"""One attempt of a request, over the network or to the model in this process; the one way to either."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager
from typing import Protocol

from llmctl.core.errors import UnavailableError
from llmctl.core.http import HttpRequest

_ECHO = "echo:"


class Answer(Protocol):
    """An HTTP answer: header names in lower case, the body in pieces as they come."""

    @property
    def status(self) -> int: ...
    @property
    def headers(self) -> Mapping[str, str]: ...
    @property
    def chunks(self) -> Iterator[bytes]: ...


def send(
    request: HttpRequest,
    *,
    attempt: int,
    remaining_s: float | None,
    loopback_only: bool,
    before_wait: Callable[[], None],
) -> AbstractContextManager[Answer]:
    """Open one attempt; ``remaining_s`` bounds it from now to the last byte.

    ``before_wait`` is called each time before more of the body is waited for.
    """
    if request.url.startswith(_ECHO):
        return _echoed(request, attempt, remaining_s, before_wait)
    from llmctl.transport import client  # httpx: not for echo, and not before it is needed

    timeouts = client.Timeouts(total=remaining_s)
    return client.open(request, timeouts, loopback_only=loopback_only, before_read=before_wait)


@contextmanager
def _echoed(
    request: HttpRequest, attempt: int, remaining_s: float | None, before_wait: Callable[[], None]
) -> Iterator[Answer]:
    from llmctl.providers import echo

    deadline = None if remaining_s is None else time.monotonic() + remaining_s

    def sleep(seconds: float) -> None:
        before_wait()
        left = seconds if deadline is None else min(seconds, deadline - time.monotonic())
        time.sleep(max(0.0, left))
        if left < seconds:
            raise UnavailableError("no answer in time", reason="timeout")

    yield echo.respond(json.loads(request.body), attempt, sleep=sleep)
