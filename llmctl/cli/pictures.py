"""From the prompt of ``image`` to pictures in files or on stdout."""

from __future__ import annotations

import os
from binascii import b2a_base64
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from llmctl.cli import errands, stdin
from llmctl.cli.app import App
from llmctl.cli.console.output import emit_json
from llmctl.cli.errands import Flags
from llmctl.cli.files import check_place, write_whole
from llmctl.core.errors import UsageError
from llmctl.core.images import ImageResponse
from llmctl.core.messages import File
from llmctl.engine.chats.attach_files import file_of, read_file
from llmctl.engine.images import draw, images_of
from llmctl.engine.single_request import Account, Errand


@dataclass(frozen=True, slots=True)
class Wishes:
    """The flags of ``image`` alone."""

    words: tuple[str, ...] = ()
    attach: tuple[str, ...] = ()
    output: str | None = None
    stdin: bool | None = None


class Drawing:
    """One run of ``image``."""

    def __init__(self, app: App, wishes: Wishes, flags: Flags) -> None:
        self._app = app
        self._wishes = wishes
        self._flags = flags
        self._answer: ImageResponse | None = None
        self._written: list[str] = []

    def run(self) -> None:
        """Draw, and put the pictures where they belong."""
        self._check_output()
        files, prompt = self._asked()
        errand = errands.errand_of(self._app, "image", self._flags)
        images_of(errand)
        with errands.exchanging(self._app, errand, lambda account: self._document(errand, account)) as exchange:
            self._answer = draw(exchange, errand, prompt, files)
        self._deliver(self._answer.images)
        if self._app.format.is_json:
            emit_json(self._app, self._document(errand, exchange.account))
        errands.finish(self._app, exchange, self._flags)

    @property
    def _to_stdout(self) -> bool:
        """Whether the picture itself goes to stdout."""
        return self._wishes.output in (None, "-") and not self._app.format.is_json

    def _check_output(self) -> None:
        output = self._wishes.output
        if output == "":
            raise UsageError('"--output" is empty', hint="is the variable that it comes from set?")
        if self._to_stdout and self._app.io.stdout_tty:
            raise UsageError(
                "a terminal shows no picture", hint="write it to a file: --output picture.png", reason="terminal"
            )
        if output and output != "-":
            check_place(output)

    def _asked(self) -> tuple[list[File], str]:
        """Return the pictures to begin with, and the prompt: words and stdin, as in ``chat``."""
        app, wishes = self._app, self._wishes
        files = [read_file(name) for name in wishes.attach if name != "-"]
        takes_stdin = wishes.stdin
        if "-" in wishes.attach:
            files.append(file_of(stdin.read_bytes(app.io, app.note)))
            takes_stdin = False
        prompt = stdin.read_prompt(wishes.words, io=app.io, env=app.env, note=app.note, stdin=takes_stdin)
        if prompt is None:
            raise UsageError("no prompt", hint='llmctl image "..." --output FILE', reason="no_prompt")
        return files, prompt

    def _deliver(self, images: Sequence[File]) -> None:
        if self._to_stdout:
            self._app.io.write_bytes(images[0].data or b"")
            if len(images) > 1:
                self._app.note(f"{len(images)} pictures came, stdout takes one; --output FILE takes all")
            return
        output = self._wishes.output
        if output is None or output == "-":
            return
        for number, image in enumerate(images, 1):
            place = output if len(images) == 1 else _numbered(output, number)
            write_whole(place, image.data or b"")
            self._written.append(place)
        if not self._app.format.is_json:
            self._app.note("wrote " + ", ".join(f'"{place}"' for place in self._written))

    def _document(self, errand: Errand, account: Account) -> dict[str, Any]:
        """Return the documented object; pictures that are in no file stand in it as base64."""
        answer = self._answer
        images = [self._image(place, image) for place, image in enumerate(answer.images if answer else ())]
        revised = answer.revised_prompt if answer else None
        return {**account.as_json(), **errands.ways(errand), "revised_prompt": revised, "images": images}

    def _image(self, place: int, image: File) -> dict[str, Any]:
        data = image.data or b""
        known = {"index": place, "media_type": image.media_type, "size": len(data)}
        if place < len(self._written):
            return known | {"file": self._written[place]}
        return known | {"data": b2a_base64(data, newline=False).decode()}


def _numbered(path: str, number: int) -> str:
    stem, ending = os.path.splitext(path)
    return f"{stem}-{number}{ending}"
