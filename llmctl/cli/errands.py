"""What ``embed`` and ``image`` share: their flags, and how their end is told."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from llmctl.cli.app import App
from llmctl.cli.console.output import emit_json
from llmctl.cli.values import pairs
from llmctl.core.errors import LlmctlError, UsageError
from llmctl.core.humanize import dollars
from llmctl.engine.billing.limits import Purse, caps
from llmctl.engine.connections import other_targets
from llmctl.engine.connections.other_targets import Kind
from llmctl.engine.single_request import Account, Errand
from llmctl.engine.single_request_runner import Exchange
from llmctl.engine.turn.options import Keep, Manner
from llmctl.store.records.settings import chosen


@dataclass(frozen=True, slots=True)
class Flags:
    """The flags of both commands."""

    model: str | None = None
    connection: str | None = None
    option: tuple[str, ...] = ()
    tag: str | None = None
    no_log: bool = False
    timeout: float | None = None
    retries: int | None = None
    max_cost: float | None = None
    usage: bool = False


def errand_of(app: App, kind: Kind, flags: Flags) -> Errand:
    """Put together what the requests of a command have in common."""
    _check(flags)
    database = app.hub("create")
    settings = chosen(database)
    usual = Manner()
    return Errand(
        kind=kind,
        target=other_targets.resolve(database, kind, flags.model, flags.connection, app.env),
        manner=Manner(
            options=pairs(flags.option, "-o", typed=True),
            timeout_s=flags.timeout or settings.get("timeout"),
            retries=settings.get("retries", usual.retries) if flags.retries is None else flags.retries,
            caps=caps(settings, None if flags.max_cost is None else Purse(flags.max_cost)),
        ),
        keep=Keep(log=not flags.no_log, tag=flags.tag),
        origin=app.origin().limited(settings.get("audit.context")),
        around=app.surroundings(),
    )


@contextmanager
def exchanging(app: App, errand: Errand, document: Callable[[Account], Mapping[str, Any]]) -> Iterator[Exchange]:
    """Give the exchange of an errand; with ``--json`` what it came to is told even where it fails."""

    def waiting(seconds: float, error: LlmctlError) -> None:
        app.note(f"{error.message}; trying again in {seconds:.1f} s")

    exchange = Exchange(app.hub("create"), errand, on_wait=waiting)
    try:
        with exchange:
            yield exchange
    except LlmctlError:
        if app.format.kind == "json" and exchange.account.request_ids:
            emit_json(app, document(exchange.account))
        raise


def finish(app: App, exchange: Exchange, flags: Flags) -> None:
    """Print the usage line where it is wanted; raise what kept the hub from being written."""
    app.io.flush()
    both = app.io.stdout_tty and app.io.stderr_tty
    if (flags.usage or both) and not app.quiet:
        app.say_line(usage_line(exchange.account))
    if exchange.storage_error:
        raise exchange.storage_error


def usage_line(account: Account) -> str:
    """Return such as ``812 in, 0 out, $0.0041, 3.2 s, text-embedding-3-small``."""
    usage = account.usage
    parts = [f"{usage.input_tokens} in", f"{usage.output_tokens} out"] if account.usage_known else []
    if account.cost is not None:
        parts.append(dollars(account.cost))
    return ", ".join([*parts, f"{account.duration_ms / 1000:.1f} s", account.model])


def ways(errand: Errand) -> dict[str, Any]:
    """Return what a document says of where it was sent."""
    return {"provider": errand.target.provider.name, "connection": errand.target.connection}


def _check(flags: Flags) -> None:
    named = {"--model": flags.model, "--connection": flags.connection}
    if empty := [flag for flag, value in named.items() if value == ""]:
        raise UsageError(f'"{empty[0]}" is empty', hint="is the variable that it comes from set?")
    if flags.timeout is not None and not 0 < flags.timeout <= 1e9:
        raise UsageError(f'"--timeout {flags.timeout:g}" is no number of seconds above 0')
    if flags.retries is not None and flags.retries < 0:
        raise UsageError(f'"--retries {flags.retries}" is less than 0')
    if flags.max_cost is not None and not 0 <= flags.max_cost < float("inf"):
        raise UsageError(f'"--max-cost {flags.max_cost:g}" is no amount of dollars')
