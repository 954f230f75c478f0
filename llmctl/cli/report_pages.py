"""The pages behind ``report --serve``: each opens the hub anew, for reading."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing
from dataclasses import replace
from http import HTTPStatus
from typing import NamedTuple
from urllib.parse import parse_qs, urlencode, urlsplit

from llmctl.cli import reporting
from llmctl.cli.reporting import Wishes
from llmctl.core import clock
from llmctl.core.errors import LlmctlError, NotFoundError, UsageError
from llmctl.engine.inspect import report_data, report_transcripts
from llmctl.engine.inspect.report_transcripts import Room
from llmctl.formats.report import page
from llmctl.formats.report.page import View
from llmctl.store.database import Database
from llmctl.store.opening import open_hub
from llmctl.store.stats.report_queries import moment

#: Words for a range, and the query they stand for.
_PERIODS = (
    ("24 hours", {"since": "24h"}),
    ("7 days", {"since": "7d"}),
    ("30 days", {"since": "30d"}),
    ("This month", {"in": "this-month"}),
    ("12 months", {"since": "365d"}),
    ("Everything", {"in": "everything"}),
)
#: What a query may say of the range.
_ASKED = ("since", "until", "in")
_EVERYTHING = "everything"
_NEWEST = 60
_ROOM = Room(text=200_000, thread=2_000_000)


class Answer(NamedTuple):
    """An answer to a browser."""

    status: HTTPStatus
    body: str


class Pages:
    """What can be asked for: the report of a range, and one conversation. ``root`` is the path with the secret."""

    def __init__(self, hub: str, wishes: Wishes, root: str) -> None:
        self.root = root
        self._hub = hub
        self._wishes = wishes

    def answer(self, target: str) -> Answer:
        """Return the page of a path below the root."""
        address = urlsplit(target)
        path = address.path[len(self.root) :]
        query = {name: values[-1] for name, values in parse_qs(address.query).items()}
        try:
            with closing(open_hub(self._hub)) as database, moment(database):
                return Answer(HTTPStatus.OK, "".join(self._pieces(database, path, query)))
        except LlmctlError as error:
            return Answer(_status(error), "".join(page.notice(error.message, error.hint or "", View())))

    def _pieces(self, database: Database, path: str, query: dict[str, str]) -> Iterator[str]:
        if not path:
            return self._report(database, query)
        kind, _, id = path.partition("/")
        if kind != "chat" or self._wishes.no_chats:
            raise NotFoundError("there is no such page")
        return self._chat(database, id)

    def _report(self, database: Database, query: dict[str, str]) -> Iterator[str]:
        wishes = self._within(query)
        wish = reporting.wish_of(database, wishes)
        found = report_data.gather(database, replace(wish, newest=_NEWEST), clock.now())
        view = self._view(database, query)
        yield from page.pieces(found, view._replace(threads=frozenset() if wishes.no_chats else None))

    def _chat(self, database: Database, id: str) -> Iterator[str]:
        for conversation in report_transcripts.conversations(database, [id], _ROOM):
            yield from page.thread(conversation, self._view(database, {}), f"{self.root}#chats")

    def _within(self, query: dict[str, str]) -> Wishes:
        """Return the flags with another range, where the query names one."""
        asked = {name: query[name] for name in _ASKED if query.get(name)}
        if not asked:
            return self._wishes
        period = asked.get("in")
        return self._wishes._replace(
            since=asked.get("since"), until=asked.get("until"), period=None if period == _EVERYTHING else period
        )

    def _view(self, database: Database, query: dict[str, str]) -> View:
        asked = {name: query[name] for name in _ASKED if query.get(name)}
        links = [(words, f"{self.root}?{urlencode(range)}", range == asked) for words, range in _PERIODS]
        return reporting.view_of(database)._replace(periods=links, thread_url=f"{self.root}chat/{{}}")


def _status(error: LlmctlError) -> HTTPStatus:
    if isinstance(error, NotFoundError):
        return HTTPStatus.NOT_FOUND
    return HTTPStatus.BAD_REQUEST if isinstance(error, UsageError) else HTTPStatus.SERVICE_UNAVAILABLE
