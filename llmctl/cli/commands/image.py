"""``llmctl image``: a prompt to images."""

from __future__ import annotations

import os
from binascii import b2a_base64
from collections.abc import Sequence
from typing import TYPE_CHECKING, Annotated, Any

import typer

from llmctl.cli import common_options
from llmctl.cli.app import App
from llmctl.cli.atomic_write import require_writable_path, write_file
from llmctl.cli.console import console as stdin_input
from llmctl.cli.console.console import answer_output
from llmctl.cli.console.output import emit_json
from llmctl.core.errors import UsageError
from llmctl.core.options import TurnOptions
from llmctl.core.values import Value

if TYPE_CHECKING:
    from llmctl.core.chat import File
    from llmctl.core.single_requests import ImageResponse
    from llmctl.engine.single_request import SingleRequestPlan, UsageSummary


@answer_output
def image(
    ctx: typer.Context,
    flags: common_options.RequestFlags,
    prompt: Annotated[list[str] | None, typer.Argument(metavar="[PROMPT]...", help="What to draw.")] = None,
    output: Annotated[str | None, typer.Option(metavar="FILE|-", help="Write to FILE; - is stdout.")] = None,
    attach: Annotated[
        list[str] | None,
        typer.Option("--attach", "-a", metavar="PATH|URL|-", help="Image to edit. Repeatable."),
    ] = None,
    no_log: Annotated[bool, typer.Option("--no-log", "-n", help="Do not store any text, only usage.")] = False,
) -> None:
    """Generate or edit an image.

    --output writes the image to a file; several (-o n=3) are numbered, as in logo-1.png. Without it, a pipe gets the
    bytes of the image; a terminal is refused. Standard input is appended to the prompt.

    Examples:
      llmctl image -m echo "a lighthouse" --output lighthouse.png
      llmctl image -m openai "the same, at night" -a lighthouse.png -o size=1024x1024 > night.png
    """
    app: App = ctx.obj
    ImageRun(app, ImageArgs(tuple(prompt or ()), tuple(attach or ()), output, no_log), flags).run()


class ImageArgs(Value):
    """The flags of ``image`` alone."""

    words: tuple[str, ...] = ()
    attach: tuple[str, ...] = ()
    output: str | None = None
    no_log: bool = False


class ImageRun:
    """One run of ``image``."""

    def __init__(self, app: App, args: ImageArgs, flags: TurnOptions) -> None:
        self._app = app
        self._args = args
        self._flags = flags
        self._response: ImageResponse | None = None
        self._written_paths: list[str] = []

    def run(self) -> None:
        """Generate the images and write them."""
        from llmctl.cli.commands.shared.single_request import build_plan, finish, open_runner
        from llmctl.engine import single_request

        self._check_output()
        files, prompt = self._read_input()
        plan = build_plan(self._app, "image", self._flags, no_log=self._args.no_log)
        single_request.require_images(plan)
        with open_runner(self._app, plan, lambda summary: self._document(plan, summary)) as runner:
            self._response = single_request.make_images(runner, plan, prompt, files)
        self._write_images(self._response.images)
        if self._app.console.format.is_json:
            emit_json(self._app.console, self._document(plan, runner.summary))
        finish(self._app, runner, self._flags)

    @property
    def _writes_bytes(self) -> bool:
        """Whether the image itself goes to stdout."""
        return self._args.output in (None, "-") and not self._app.console.format.is_json

    def _check_output(self) -> None:
        output = self._args.output
        if output == "":
            raise UsageError("--output must not be empty", hint="check that the variable it comes from is set")
        if self._writes_bytes and self._app.console.io.stdout_tty:
            raise UsageError(
                "cannot show an image on a terminal",
                hint='llmctl image "a lighthouse" --output lighthouse.png',
                reason="terminal",
            )
        if output and output != "-":
            require_writable_path(output)

    def _read_input(self) -> tuple[list[File], str]:
        """Return the images to edit, and the prompt: words and stdin, as in ``chat``."""
        from llmctl.engine.chats.attachments import attachment_from_bytes, read_attachment

        app, args = self._app, self._args
        files = [read_attachment(name) for name in args.attach if name != "-"]
        reads_stdin = self._flags.stdin
        if "-" in args.attach:
            files.append(attachment_from_bytes(stdin_input.read_bytes(app.console.io, app.console.note)))
            reads_stdin = False
        prompt = stdin_input.read_prompt(
            args.words, io=app.console.io, env=app.env, note=app.console.note, stdin=reads_stdin
        )
        if prompt is None:
            hint = 'llmctl image "a lighthouse" --output lighthouse.png'
            raise UsageError("no prompt", hint=hint, reason="no_prompt")
        return files, prompt

    def _write_images(self, images: Sequence[File]) -> None:
        if self._writes_bytes:
            self._app.console.io.write_bytes(images[0].data or b"")
            if len(images) > 1:
                self._app.console.note(f"only the first of {len(images)} images was written; --output FILE writes all")
            return
        output = self._args.output
        if output is None or output == "-":
            return
        for number, file in enumerate(images, 1):
            path = output if len(images) == 1 else _numbered_path(output, number)
            write_file(path, file.data or b"")
            self._written_paths.append(path)
        if not self._app.console.format.is_json:
            self._app.console.note("wrote " + ", ".join(f'"{path}"' for path in self._written_paths))

    def _document(self, plan: SingleRequestPlan, summary: UsageSummary) -> dict[str, Any]:
        """Return the documented object; images that are in no file are included as base64."""
        from llmctl.cli.commands.shared.single_request import target_fields

        response = self._response
        images = [self._image_object(index, file) for index, file in enumerate(response.images if response else ())]
        revised = response.revised_prompt if response else None
        return {**summary.to_json(), **target_fields(plan), "revised_prompt": revised, "images": images}

    def _image_object(self, index: int, file: File) -> dict[str, Any]:
        data = file.data or b""
        fields = {"index": index, "media_type": file.media_type, "size": len(data)}
        if index < len(self._written_paths):
            return fields | {"file": self._written_paths[index]}
        return fields | {"data": b2a_base64(data, newline=False).decode()}


def _numbered_path(path: str, number: int) -> str:
    stem, extension = os.path.splitext(path)
    return f"{stem}-{number}{extension}"
