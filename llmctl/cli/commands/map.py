"""``llmctl map``: a prompt for every row of a table."""

from __future__ import annotations

import os
import shutil
import tempfile
import time
from collections.abc import Sequence
from typing import TYPE_CHECKING, Annotated, Any, cast

import typer

from llmctl.cli.app import App
from llmctl.cli.atomic_write import require_writable_path
from llmctl.cli.commands.chat import ParamOption, SystemFileOption, SystemOption, TemplateOption
from llmctl.cli.console.columns import OutputColumn
from llmctl.cli.console.console import record_output
from llmctl.cli.console.output import emit_record
from llmctl.core.errors import LlmctlError, NotFoundError, UsageError
from llmctl.core.humanize import format_dollars, format_duration
from llmctl.core.options import OptionSet, TurnOptions, option, parse_pairs
from llmctl.core.signals import Signalled
from llmctl.core.text_files import read_text_file
from llmctl.core.values import Value

if TYPE_CHECKING:
    from llmctl.cli.turn.prompt_files import PromptFile
    from llmctl.engine.bulk.pace import PaceOptions
    from llmctl.engine.bulk.rows import InputFormat, RowSource
    from llmctl.engine.bulk.run import ErrorPolicy, MapProgress
    from llmctl.engine.bulk.spec import MapSpec
    from llmctl.engine.turn.plan import TurnPlan
    from llmctl.store.database import Database
    from llmctl.store.records.types import JobRow

MapFlags = Annotated[
    TurnOptions,
    (
        *("model", "connection", "options", "thinking", "schema", "fix", "extract"),
        *("max_cost", "timeout", "retries", "tag", "cache", "refresh", "cached_only"),
    ),
]
#: Seconds between lines of progress off a terminal.
_PROGRESS_INTERVAL_S = 30.0
#: Rows after which the rest is estimated from their mean.
_MIN_ROWS_FOR_ESTIMATE = 20
_BAR_CELLS = 20
#: The flags of ``map`` that a job keeps for ``--resume=JOB``.
_PACE_FLAGS = ("parallel", "rpm", "tpm", "on_error")


class MapOptions(OptionSet):
    """The flags of ``map`` alone."""

    # Input
    sql: str | None = option("Take the rows from this SELECT.", group="Input", metavar="QUERY", doors="flag")
    from_db: str | None = option(
        "SQLite database of the query. [the hub]", group="Input", metavar="DB", flag="--from", doors="flag"
    )
    input_format: str | None = option(
        "Format of the input: jsonl, json, csv, tsv or lines. [by name]",
        group="Input", metavar="FORMAT", choices=("jsonl", "json", "csv", "tsv", "lines"), doors="flag",
    )  # fmt: skip
    id: str | None = option("Column that names a row.", group="Input", metavar="COLUMN", doors="flag")
    limit: int | None = option("Only the first N rows.", group="Input", kind="integer", metavar="N", minimum=1,
                               doors="flag")  # fmt: skip
    sample: int | None = option(
        "Only N rows, at random but always the same.",
        group="Input", kind="integer", metavar="N", minimum=1, doors="flag",
    )  # fmt: skip
    shard: str | None = option("Only the I-th of N parts.", group="Input", metavar="I/N", doors="flag")

    # Model
    via: str | None = option(
        "How rows are sent: batch uses the provider's batch API, at half price. [at once]",
        group="Model", metavar="batch", choices=("batch",), doors="flag",
    )  # fmt: skip
    wait: bool = option("With --via batch: wait for the answers.", group="Model", kind="switch", doors="flag")

    # Output
    output: str | None = option(
        "Write .jsonl or .csv when all rows are done. [stdout]", group="Output", metavar="FILE", doors="flag"
    )
    errors: str | None = option("Write failed rows here, too.", group="Output", metavar="FILE", doors="flag")
    select: str | None = option("Columns to copy to the output.", group="Output", metavar="A,B", doors="flag")
    order: str = option(
        "Order of the output: input or done.",
        group="Output", metavar="ORDER", choices=("input", "done"), default="input", doors="flag",
    )  # fmt: skip
    progress: bool = option("Off a terminal: a line each 30 s.", group="Output", kind="switch", doors="flag")
    estimate: bool = option("Show rows, tokens and cost; send nothing.", group="Output", kind="switch", doors="flag")

    # Limits
    parallel: str = option(
        "Requests at once.", group="Limits", metavar="N|auto", short="-P", default="auto", doors="flag"
    )
    rpm: float | None = option("Requests a minute.", group="Limits", kind="number", metavar="N", above=0, doors="flag")
    tpm: float | None = option("Tokens a minute.", group="Limits", kind="number", metavar="N", above=0, doors="flag")
    on_error: str = option(
        "Rows that may fail: continue, stop or N%.",
        group="Limits", metavar="SHARE", default="continue", doors="flag",
    )  # fmt: skip

    # Storage
    resume: str | None = option(
        "Go on with an unfinished map, or begin.",
        group="Storage", metavar="JOB", has_optional_value=True, allows_empty=True, doors="flag",
    )  # fmt: skip
    retry_failed: str | None = option(
        "Ask failed rows again, too.",
        group="Storage",
        metavar="JOB",
        has_optional_value=True,
        allows_empty=True,
        doors="flag",
    )
    restart: bool = option("Begin again.", group="Storage", kind="switch", doors="flag")


class MapArgs(Value):
    """The prompt of ``map``, and its flags."""

    options: MapOptions
    words: tuple[str, ...] = ()
    template: str | None = None
    params: tuple[str, ...] = ()
    system: str | None = None
    system_file: str | None = None


@record_output
def map_(
    ctx: typer.Context,
    flags: MapFlags,
    options: MapOptions,
    words: Annotated[
        list[str] | None, typer.Argument(metavar="[INPUT|-] [PROMPT|FILE.toml]", help="Table; prompt for each row.")
    ] = None,
    template: TemplateOption = None,
    param: ParamOption = None,
    system: SystemOption = None,
    system_file: SystemFileOption = None,
) -> None:
    """Send a prompt for every row of a table, in parallel.

    INPUT is JSON lines, a JSON array, CSV, TSV or lines of text. The prompt and --system are jinja2 templates over its
    columns (of text: line; row is all of them). The output has one JSON object per row, in the order of the input:
    id, position, status, output, data, request_id, cost, error, and the columns of --select. Every answer is in the
    hub before it is written; after any interruption --resume goes on and asks no answered row again. Exit codes: 14
    where rows failed, 7 at --max-cost. More: llmctl help many-prompts

    Examples:
      llmctl map reviews.csv "Is this positive? {{ text }}" -m echo --output out.jsonl --resume
      llmctl map names.txt "A rhyme on:" --limit 3
      llmctl map --sql "SELECT id, content FROM v_messages" "Summarize: {{ content }}" --estimate
    """
    args = MapArgs(options, tuple(words or ()), template, tuple(param or ()), system, system_file)
    MapCommand(ctx.obj, args, flags).run()


class MapCommand:
    """One run of ``map``."""

    def __init__(self, app: App, args: MapArgs, flags: TurnOptions) -> None:
        self._app = app
        self._args = args
        self._options = args.options
        self._flags = flags
        self._pace = _parse_pace(args.options, flags.retries)
        self._policy = _parse_policy(args.options.on_error)
        self._stdin_copy: str | None = None

    def run(self) -> None:
        """Estimate, or answer all rows."""
        for path in filter(None, (self._options.output, self._options.errors)):
            require_writable_path(path)
        _require_two_files(self._options.output, self._options.errors)
        try:
            self._run()
        finally:
            if self._stdin_copy:
                os.unlink(self._stdin_copy)

    def _run(self) -> None:
        database = self._app.hub("create")
        job, spec = self._find_named_job(database)
        if spec is None:
            spec = self._build_spec(database)
            job = self._find_job(database, spec)
        if self._options.estimate:
            self._show_estimate(database, spec)
        else:
            self._run_job(database, job, spec)

    def _show_estimate(self, database: Database, spec: MapSpec) -> None:
        from llmctl.engine.bulk.estimate import estimate_map

        found = estimate_map(database, spec, self._build_turn(database, spec), self._pace)
        columns = [OutputColumn(name, "number" if name != "model" else "text") for name in found]
        emit_record(self._app.console, found, columns)

    def _run_job(self, database: Database, job: JobRow | None, spec: MapSpec) -> None:
        from llmctl.core.redaction import Redaction
        from llmctl.engine.bulk import jobs as map_jobs
        from llmctl.engine.bulk.run import MapSetup, run_map
        from llmctl.engine.connections.target import resolve_endpoint

        turn = self._build_turn(database, spec)
        is_local = turn.target.wire == "echo"
        pace = self._pace.replace(start=1) if is_local else self._pace  # threads only help to wait for others
        resolved = resolve_endpoint(database, turn.target, turn.runtime, needs_key=not turn.options.cached_only)
        if self._options.via:
            from llmctl.engine.batches.host import require_protocol
            from llmctl.engine.batches.maps import require_batchable

            require_protocol(turn.target)
            require_batchable(turn)
        elif self._options.wait:
            raise UsageError("--wait requires --via batch")
        if job is None:
            job = map_jobs.begin_map(database, spec, Redaction(resolved.secrets))
        else:
            job = map_jobs.take_over(database, job, retries_failed=self._options.retry_failed is not None)
        if self._options.via:
            self._run_in_batches(database, job, spec)
            return
        display = ProgressDisplay(self._app, self._options.progress)
        setup = MapSetup(
            turn=turn,
            resolved=resolved,
            pace=pace,
            policy=self._policy,
            in_order=self._options.order == "input",
            write_stdout=display.write_stdout,
            on_progress=display.show,
        )
        try:
            run_map(database, job, spec, setup)
        except LlmctlError as error:
            error.hint = "\n".join(filter(None, (error.hint, _hint_after(error, job, spec))))
            raise
        except Signalled:
            display.finish()
            self._app.console.note(f"stopped; go on: llmctl map --resume={job.id[:8]}")
            raise
        finally:
            display.finish()

    def _build_turn(self, database: Database, spec: MapSpec) -> TurnPlan:
        from llmctl.engine.bulk.jobs import build_turn

        return build_turn(database, spec, self._flags, self._app.caller_info(), self._app.runtime_env())

    def _run_in_batches(self, database: Database, job: JobRow, spec: MapSpec) -> None:
        """Submit the rows and take in what has been answered; without --wait exit code 8 says that some still run."""
        from llmctl.cli.commands.batch import open_map

        try:
            with open_map(self._app, database, job, spec, self._flags) as opened:
                opened.work(wait=self._options.wait, repeats=True)
        except LlmctlError as error:
            error.hint = error.hint or _hint_after(error, job, spec)
            raise

    # --- what to do

    def _find_named_job(self, database: Database) -> tuple[JobRow | None, MapSpec | None]:
        """Return the job of ``--resume=JOB`` and its spec where the command line does not say it again."""
        ref = self._options.resume or self._options.retry_failed
        if not ref or self._args.words or self._options.sql:
            return None, None
        from llmctl.engine.bulk.spec import from_payload
        from llmctl.store.records import jobs

        job = jobs.get(database, ref)
        spec = from_payload(job)
        if self._flags.model or self._args.template or self._args.system is not None:
            raise UsageError("--resume=JOB takes model and prompt from the job", hint="repeat the whole command")
        if self._options.output:
            spec = spec.replace(output=os.path.abspath(self._options.output))
        _require_two_files(spec.output, spec.errors)
        self._options = self._options.over(MapOptions(**spec.pace))
        self._pace = _parse_pace(self._options, self._flags.retries)
        self._policy = _parse_policy(self._options.on_error)
        return job, spec

    def _find_job(self, database: Database, spec: MapSpec) -> JobRow | None:
        """Return the job to go on with; None: begin one. Raises UsageError where something changed since."""
        from llmctl.engine.bulk import jobs as map_jobs
        from llmctl.engine.bulk.spec import from_payload
        from llmctl.store.records import jobs

        own = self._options
        ref = own.resume or own.retry_failed
        if own.restart or own.estimate or (own.resume is None and own.retry_failed is None):
            return None
        retries = own.retry_failed is not None
        job = jobs.get(database, ref) if ref else map_jobs.find_continued(database, spec, with_failed=retries)
        if job is None:
            if retries:
                raise NotFoundError(
                    "no map of this input and output has failed rows", hint="llmctl job list --type map"
                )
            return None
        stored = from_payload(job)
        if change := spec.find_change(stored):
            raise map_jobs.changed_error(job, change)
        map_jobs.require_same_input(database, spec, job, stored)
        return job

    def _build_spec(self, database: Database) -> MapSpec:
        from llmctl.engine.bulk.rows import LINE
        from llmctl.engine.bulk.spec import MapSpec
        from llmctl.formats import templates

        source, words = self._build_source(database)
        file = self._open_prompt_file(words)
        options = self._flags.over(file.defaults_for(self._flags)) if file else self._flags
        _require_no_tools(options)
        prompt = (file.definition.prompt or "") if file else " ".join(words)
        is_text = source.format == "lines"
        if not prompt:
            prompt = "{{ line }}" if is_text else "{{ prompt }}"
        elif is_text and not templates.list_variables(prompt, "the prompt"):
            prompt = f"{prompt}\n\n{{{{ {LINE} }}}}"
        args, own = self._args, self._options
        spec = MapSpec(
            source=source,
            prompt=prompt,
            system=self._read_system(file),
            params=file.template_values() if file else parse_pairs(args.params, "--param"),
            model="",
            options=options,
            id_column=own.id,
            select=_parse_select(own.select),
            output=os.path.abspath(own.output) if own.output else None,
            errors=os.path.abspath(own.errors) if own.errors else None,
            pace=own.only(_PACE_FLAGS).to_dict(),
        )
        return self._resolve_spec(database, spec)

    def _resolve_spec(self, database: Database, spec: MapSpec) -> MapSpec:
        """Return the spec with the model that it means now, its schema, and the fingerprint of its input."""
        from llmctl.engine.turn.plan import choose_target, resolve_options
        from llmctl.store.records.settings import list_changed

        options = resolve_options(spec.options, list_changed(database), env=self._app.env)
        target = choose_target(database, options, None, self._app.env)
        model = f"{target.connection or target.provider.name}:{target.model}"
        return spec.replace(model=model, options=options, fingerprint=spec.source.fingerprint())

    def _build_source(self, database: Database) -> tuple[RowSource, list[str]]:
        """Return the input, and the words of the prompt."""
        from llmctl.engine.bulk.rows import RowSource, detect_format

        own, words = self._options, list(self._args.words)
        chosen: dict[str, Any] = {"limit": own.limit, "sample": own.sample, "shard": _parse_shard(own.shard)}
        if own.limit is not None and own.sample is not None:
            raise UsageError("--limit and --sample cannot be combined")
        if own.sql is not None:
            path = os.path.abspath(own.from_db) if own.from_db else database.path
            if not os.path.isfile(path):
                raise NotFoundError(f'no database "{path}"')
            return RowSource(name=own.sql, format="sql", path=path, **chosen), words
        if own.from_db:
            raise UsageError("--from requires --sql")
        if not words:
            raise UsageError(
                "no input", hint='such as: llmctl map names.txt "A rhyme on {{ line }}"', reason="no_input"
            )
        name, *words = words
        path = self._copy_stdin() if name == "-" else os.path.abspath(name)
        full_name = name if name == "-" else path
        found = cast("InputFormat | None", own.input_format) or detect_format(path, full_name)
        return RowSource(name=full_name, format=found, path=path, **chosen), words

    def _copy_stdin(self) -> str:
        """Return a file with what stdin holds: it is read twice, and may be larger than memory."""
        io = self._app.console.io
        if io.stdin_tty:
            raise UsageError("no input on stdin", hint="pipe it in, or name a file")
        descriptor, self._stdin_copy = tempfile.mkstemp(prefix="llmctl-map-")
        with os.fdopen(descriptor, "wb") as copy:
            shutil.copyfileobj(getattr(io.stdin, "buffer", io.stdin), copy)
        return self._stdin_copy

    def _open_prompt_file(self, words: Sequence[str]) -> PromptFile | None:
        from llmctl.cli.turn import prompt_files

        args = self._args
        name = words[0] if len(words) == 1 and words[0].endswith(".toml") and os.path.isfile(words[0]) else None
        if args.template is not None and words:
            raise UsageError("-t and a prompt cannot be combined")
        if name is None and args.template is None:
            return None
        return prompt_files.open_prompt_file(self._app, name, args.template, args.params)

    def _read_system(self, file: PromptFile | None) -> str | None:
        args = self._args
        if args.system is not None and args.system_file:
            raise UsageError("--system and --system-file cannot be combined")
        if args.system_file:
            return read_text_file(args.system_file).rstrip("\n")
        return args.system if args.system is not None or file is None else file.definition.system


def _require_no_tools(options: TurnOptions) -> None:
    if options.tools or options.attach:
        what = "tools" if options.tools else "attachments"
        raise UsageError(f"map cannot use {what}", hint="leave them out of the prompt file")


def _require_two_files(output: str | None, errors: str | None) -> None:
    """Raise UsageError where results and failed rows would overwrite each other; a device takes both."""
    if not output or not errors or os.path.realpath(output) != os.path.realpath(errors):
        return
    if os.path.isfile(output) or not os.path.exists(output):
        raise UsageError("--output and --errors must be two files", hint=f"such as --errors {errors}.errors")


def _parse_select(text: str | None) -> tuple[str, ...]:
    from llmctl.engine.bulk.output import COLUMNS

    names = tuple(name.strip() for name in (text or "").split(",") if name.strip())
    for name in names:
        if name in COLUMNS:
            raise UsageError(
                f'--select cannot copy "{name}": every row of the output has a "{name}" of its own',
                hint="rename the column in the input",
            )
    return names


def _parse_shard(text: str | None) -> tuple[int, int]:
    if text is None:
        return 1, 1
    index, slash, count = text.partition("/")
    if slash and index.isdecimal() and count.isdecimal() and 1 <= int(index) <= int(count):
        return int(index), int(count)
    raise UsageError(f'--shard must be I/N with I from 1 to N, got "{text}"', hint="such as --shard 1/10")


def _parse_pace(own: MapOptions, retries: int) -> PaceOptions:
    from llmctl.engine.bulk.pace import PaceOptions

    is_auto = own.parallel == "auto"
    if not is_auto and not (own.parallel.isdecimal() and 1 <= int(own.parallel) <= 1000):
        raise UsageError(f'--parallel must be auto or a number from 1 to 1000, got "{own.parallel}"')
    return PaceOptions(None if is_auto else int(own.parallel), own.rpm, own.tpm, retries)


def _parse_policy(text: str) -> ErrorPolicy:
    from llmctl.engine.bulk.run import ErrorPolicy

    if text in ("continue", "stop"):
        return ErrorPolicy(1.0 if text == "continue" else 0.0)
    number = text.removesuffix("%")
    if number != text and number.replace(".", "", 1).isdecimal() and float(number) <= 100:
        return ErrorPolicy(float(number) / 100)
    raise UsageError(f'--on-error must be continue, stop or a share such as 5%, got "{text}"')


def _hint_after(error: LlmctlError, job: JobRow, spec: MapSpec) -> str:
    id = job.id[:8]
    if error.reason == "failed_rows":
        where = f'see "{spec.errors}"; ' if spec.errors else f"see them: llmctl job show {id} --items; "
        return f"{where}ask them again: llmctl map --retry-failed={id}"
    return f"go on: llmctl map --resume={id}"


class ProgressDisplay:
    """Shows how far a map is: a bar on a terminal, and lines elsewhere if they are asked for."""

    def __init__(self, app: App, prints_lines: bool) -> None:
        self._console = app.console
        self._is_bar = app.console.io.stderr_tty and not app.console.quiet
        self._prints_lines = prints_lines and not self._is_bar and not app.console.quiet
        self._next_at = time.monotonic() + (0.5 if self._is_bar else _PROGRESS_INTERVAL_S)
        self._is_shown = False

    def show(self, progress: MapProgress) -> None:
        """Show the progress if it is time."""
        now = time.monotonic()
        if now < self._next_at or not (self._is_bar or self._prints_lines):
            return
        text = format_progress(progress)
        if self._is_bar:
            self._next_at = now + 0.2
            self._is_shown = True
            cells = progress.ended * _BAR_CELLS // max(progress.total, 1)
            bar = "█" * cells + "░" * (_BAR_CELLS - cells)
            width = shutil.get_terminal_size().columns - 1
            self._console.io.write_stderr(f"\r\x1b[K{f'{bar} {text}'[:width]}")
        else:
            self._next_at = now + _PROGRESS_INTERVAL_S
            self._console.write_stderr_line(text)

    def write_stdout(self, text: str) -> None:
        """Write to stdout, where the bar may stand on the same terminal."""
        self.finish()
        self._console.io.write(text)
        self._console.io.flush()

    def finish(self) -> None:
        """Remove the bar."""
        if self._is_shown:
            self._console.io.write_stderr("\r\x1b[K")
            self._is_shown = False


def format_progress(progress: MapProgress) -> str:
    """Return such as ``20 of 100,000 · $0.41 · about $2,050 · 3 h 10 min · 412 rows/min``."""
    parts = [f"{progress.ended:,} of {progress.total:,}"]
    if progress.failed:
        parts.append(f"{progress.failed:,} failed")
    if progress.cost:
        parts.append(format_dollars(progress.cost))
    if progress.rows >= _MIN_ROWS_FOR_ESTIMATE and progress.seconds > 0:
        if progress.cost:
            parts.append(f"about {format_dollars(progress.cost * progress.total / progress.ended)}")
        left_s = (progress.total - progress.ended) * progress.seconds / progress.rows
        parts += [format_duration(left_s * 1000), f"{progress.rows / progress.seconds * 60:,.0f} rows/min"]
    return " · ".join(parts)
