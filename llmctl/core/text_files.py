"""Read a text file that the user named."""

from __future__ import annotations

from llmctl.core.errors import NotFoundError


def read_text_file(path: str) -> str:
    """Return the text of a UTF-8 file; raise NotFoundError (exit 3) where it cannot be read or is not UTF-8."""
    try:
        with open(path, encoding="utf-8") as file:
            return file.read()
    except UnicodeDecodeError as error:
        raise NotFoundError(f'cannot read "{path}": not valid UTF-8') from error
    except OSError as error:
        raise NotFoundError(f'cannot read "{path}": {error.strerror or error}') from error
    except ValueError as error:  # a NUL in the path
        raise NotFoundError(f'cannot read "{path}": {error}') from error
