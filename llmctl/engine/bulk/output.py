"""Write the results of a map: complete and in order, or not at all.

Results are read from the hub, so that only committed answers are ever shown, and memory stays the same however many
there are. A file is written beside its place, as ``FILE.partial``, and renamed when all rows are in it.
"""

from __future__ import annotations

import csv
import os
import stat
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from typing import IO, Any

from llmctl.core.errors import LlmctlError
from llmctl.core.stored_values import dumps, loads
from llmctl.engine.bulk.spec import MapSpec
from llmctl.store.database import Database, Row
from llmctl.store.records import map_items

#: What a row of the output has, before the selected columns of the input.
COLUMNS = ("id", "position", "status", "output", "data", "request_id", "cost", "error")
SUFFIX = ".partial"
_PAGE = 500

WriteText = Callable[[str], object]


class OutputFile:
    """A file that appears under its name when it is complete. A device or pipe is written to as it is."""

    def __init__(self, path: str) -> None:
        self._path = path
        is_special = os.path.exists(path) and not os.path.isfile(path)
        self._draft = path if is_special else f"{os.path.realpath(path)}{SUFFIX}"
        with self._translate_errors():
            descriptor = os.open(self._draft, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o666)
            self._file: IO[str] = os.fdopen(descriptor, "w", encoding="utf-8", errors="backslashreplace", newline="")

    @property
    def draft(self) -> str:
        """Where the rows are until then."""
        return self._draft

    def write(self, text: str) -> None:
        with self._translate_errors():
            self._file.write(text)
            self._file.flush()

    def publish(self) -> None:
        """Put the file in place."""
        with self._translate_errors():
            self._file.flush()
            if self._draft == self._path:
                self._file.close()
                return
            os.fsync(self._file.fileno())
            self._file.close()
            path = self._draft.removesuffix(SUFFIX)
            with suppress(FileNotFoundError):
                os.chmod(self._draft, stat.S_IMODE(os.stat(path).st_mode))
            os.replace(self._draft, path)

    def close(self) -> None:
        """Leave what was written so far where it is."""
        with suppress(OSError):
            self._file.close()

    def _translate_errors(self) -> _OutputErrors:
        return _OutputErrors(self._path)


class _OutputErrors:
    """Raises LlmctlError for what goes wrong with a file."""

    def __init__(self, path: str) -> None:
        self._path = path

    def __enter__(self) -> None:
        pass

    def __exit__(self, kind: object, error: BaseException | None, traceback: object) -> None:
        if isinstance(error, OSError):
            message = f'cannot write "{self._path}": {error.strerror}'
            raise LlmctlError(message, hint="free some space, or go on with --resume", reason="output") from error


class ResultWriter:
    """Writes results as they are allowed to appear."""

    def __init__(
        self,
        database: Database,
        job_id: str,
        spec: MapSpec,
        write_stdout: WriteText,
        *,
        in_order: bool = True,
    ) -> None:
        self._database = database
        self._job_id = job_id
        self._spec = spec
        self._in_order = in_order
        self._file = OutputFile(spec.output) if spec.output else None
        self._errors = OutputFile(spec.errors) if spec.errors else None
        self._write = self._file.write if self._file else write_stdout
        self._is_csv = bool(spec.output and spec.output.lower().endswith(".csv"))
        self._columns = (*COLUMNS, *(name for name in spec.select if name not in COLUMNS))
        #: The last position that was written, and the last one that may be; None: all of them.
        self._written_upto = 0
        self._allowed_upto: int | None = 0
        #: Without order: rows that ended, and whether those of an earlier run were written.
        self._ended: list[str] = []
        self._has_earlier = not in_order
        if self._is_csv:
            self._write(next(_to_csv([self._columns])))

    @property
    def is_behind(self) -> bool:
        """Whether there is something to write."""
        if not self._in_order:
            return bool(self._ended)
        return self._allowed_upto is None or self._written_upto < self._allowed_upto

    @property
    def draft(self) -> str | None:
        """Where the rows are until the file is complete."""
        return self._file.draft if self._file else None

    def allow(self, upto: int | None) -> None:
        """Let the rows up to a position be written; None: all."""
        self._allowed_upto = upto

    def add(self, id: str) -> None:
        """Let a row be written that has just ended, where the order does not matter."""
        if not self._in_order:
            self._ended.append(id)

    def write(self, limit: int | None) -> None:
        """Write rows that may appear; at most about ``limit`` of them."""
        if not self._in_order:
            self._write_ended()
            return
        count = 0
        while self.is_behind and (limit is None or count < limit):
            upto = 1 << 62 if self._allowed_upto is None else self._allowed_upto
            rows = list(
                map_items.list_results(self._database, self._job_id, after=self._written_upto, upto=upto, limit=_PAGE)
            )
            self._write_rows(rows)
            count += len(rows)
            if len(rows) < _PAGE:
                self._written_upto = upto
                self._allowed_upto = upto
            else:
                self._written_upto = rows[-1]["position"]

    def publish(self) -> None:
        """Put complete files in place."""
        for file in filter(None, (self._file, self._errors)):
            file.publish()

    def close(self) -> None:
        """Close files that are not complete."""
        for file in filter(None, (self._file, self._errors)):
            file.close()

    def write_earlier(self) -> None:
        """Write the rows that ended in an earlier run, where the order does not matter."""
        after = 0
        while self._has_earlier and (rows := map_items.list_finished(self._database, self._job_id, after, _PAGE)):
            self._write_rows(rows)
            after = rows[-1]["position"]
        self._has_earlier = False

    def _write_ended(self) -> None:
        ids, self._ended = self._ended, []
        if ids:
            self._write_rows(map_items.get_results(self._database, ids))

    def _write_rows(self, rows: Sequence[Row]) -> None:
        results = [to_result(row, self._spec) for row in rows if row["status"] in ("completed", "failed")]
        if results:
            self._write("".join(self._format(results, is_csv=self._is_csv)))
        if self._errors and (failed := [result for result in results if result["status"] == "failed"]):
            self._errors.write("".join(self._format(failed, is_csv=False)))

    def _format(self, results: Iterable[Mapping[str, Any]], *, is_csv: bool) -> Iterator[str]:
        if is_csv:
            yield from _to_csv([[_to_cell(result[name]) for name in self._columns] for result in results])
        else:
            yield from (f"{dumps(result)}\n" for result in results)


def to_result(row: Row, spec: MapSpec) -> dict[str, Any]:
    """Return a row of the output."""
    is_answered = row["status"] == "completed"
    made = row["output"]
    error = {"code": row["error_code"], "reason": row["error_reason"], "message": row["error"]}
    values = loads(row["input"], {}) if spec.select else {}
    data = None if made is None else made if spec.options.schema is None else loads(made)
    result = {
        "id": row["custom_id"],
        "position": row["position"],
        "status": row["status"],
        "output": (row["content"] if made is None else made) if is_answered else None,
        "data": data if is_answered else None,
        "request_id": row["request_id"],
        "cost": row["cost"],
        "error": error if row["error_code"] else None,
    }
    return result | {name: values.get(name) for name in spec.select if name not in result}


class _EchoLines:
    """A file for ``csv.writer`` that returns each line instead of storing it."""

    def write(self, text: str) -> str:
        return text


def _to_csv(rows: Iterable[Sequence[Any]]) -> Iterator[str]:
    writer: Any = csv.writer(_EchoLines(), lineterminator="\n")
    return (writer.writerow(row) for row in rows)


def _to_cell(value: Any) -> Any:
    return dumps(value) if isinstance(value, (dict, list, bool)) else value
