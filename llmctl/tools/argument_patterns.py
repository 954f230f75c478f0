"""Patterns of permission rules: they are compared with what a call would touch, not with how that is spelled.

A rule that denies matches if any reading of an argument matches; a rule that allows only if the real one does.
"""

from __future__ import annotations

import glob
import os
import posixpath
import re
import shlex
import unicodedata
from collections.abc import Sequence
from contextlib import suppress
from fnmatch import fnmatchcase
from typing import Literal
from urllib.parse import quote, unquote, urlsplit

from llmctl.core.tools import Tool

#: What an argument is: a path in a folder, a URL, a command line, or any text.
Kind = Literal["path", "url", "command", "text"]
Effect = Literal["allow", "deny"]

_GLOB = re.compile(r"[*?\[]")
#: No file system takes a longer path: https://man7.org/linux/man-pages/man7/path_resolution.7.html
_MAX_PATH_CHARS = 4096
_DEFAULT_PORTS = {"http": 80, "https": 443}


def list_folders(tool: Tool) -> tuple[str, ...]:
    """Return the folders that paths of a tool are relative to, the first one first."""
    with suppress(FileNotFoundError):  # the working folder was removed
        base = os.path.abspath(os.path.expanduser(str(tool.data.get("folder") or ".")))
        return tuple(os.path.join(base, os.path.expanduser(folder)) for folder in tool.data.get("folders") or (".",))
    return ()


def matches(pattern: str, text: str, effect: Effect, kind: Kind, folders: Sequence[str]) -> bool:
    """Whether an argument matches the pattern of a rule; paths in it are relative to the first folder."""
    if effect == "deny":
        return fnmatchcase(text, pattern) or _DENIES[kind](pattern, text, folders)
    return _ALLOWS[kind](pattern, text, folders)


def command_is_allowed(rule: str, words: Sequence[str], folder: str) -> bool:
    """Whether a rule allows a command: ``ls`` with any arguments, or a pattern for each word.

    A last pattern ``*`` stands for any further words. A word with a path must match where that path leads.
    """
    if not set(rule) & set(" *?["):
        return words[0] == rule
    patterns = _split(rule)
    if patterns and patterns[-1] == "*":
        patterns = patterns[:-1]
        words = words[: len(patterns)]
    return len(words) == len(patterns) and all(
        _word_is_allowed(pattern, word, folder) for pattern, word in zip(patterns, words, strict=True)
    )


# --- rules that allow


def _text_is_allowed(pattern: str, text: str, folders: Sequence[str]) -> bool:
    if ".." in text.split("/") and text != pattern:
        return False
    return fnmatchcase(text, pattern)


def _path_is_allowed(pattern: str, text: str, folders: Sequence[str]) -> bool:
    if not folders or "\0" in text:
        return False
    real = os.path.realpath(os.path.join(folders[0], text))
    return any(
        fnmatchcase(os.path.relpath(real, base), pattern) or fnmatchcase(real, _resolve_pattern(pattern, base))
        for base in map(os.path.realpath, folders)
        if os.path.isabs(pattern) or _is_in(real, base)
    )


def _url_is_allowed(pattern: str, text: str, folders: Sequence[str]) -> bool:
    """Match the host on its own: ``*`` in it must not reach into the path."""
    url = _normalise_url(text)
    if url is None or "@" in urlsplit(text).netloc or "\\" in text:
        return False
    origin, path = _split_origin(url)
    origin_pattern, path_pattern = _split_origin(pattern)
    if not path_pattern:
        return fnmatchcase(url, pattern) if "://" not in pattern else fnmatchcase(origin, origin_pattern)
    return fnmatchcase(origin, origin_pattern) and fnmatchcase(path, path_pattern)


def _command_is_allowed(pattern: str, text: str, folders: Sequence[str]) -> bool:
    words = _split(text)
    if not words or not folders:
        return False
    return words == _split(pattern) or (bool(_GLOB.search(pattern)) and command_is_allowed(pattern, words, folders[0]))


def _word_is_allowed(pattern: str, word: str, folder: str) -> bool:
    if word == pattern or pattern == "*":
        return True
    if not _GLOB.search(pattern) or not fnmatchcase(word, pattern):
        return False
    if word.startswith("-") and not pattern.startswith("-"):
        return False
    if "/" in word or word == ".." or os.path.lexists(os.path.join(folder, word)):
        return _path_is_allowed(pattern, word, (folder,))
    return True


# --- rules that deny


def _text_is_denied(pattern: str, text: str, folders: Sequence[str]) -> bool:
    if len(text) > _MAX_PATH_CHARS:
        return fnmatchcase(posixpath.normpath(text), pattern)
    return _path_is_denied(pattern, text, folders)


def _path_is_denied(pattern: str, text: str, folders: Sequence[str]) -> bool:
    """Compare all spellings: as given, without ``.`` and ``..``, and behind links; in each folder of the tool."""
    if "\0" in text or not folders:
        return False
    place = os.path.join(folders[0], text)
    lexical, real = os.path.normpath(place), os.path.realpath(place)
    for folder in folders:
        bases = {os.path.normpath(folder), os.path.realpath(folder)}
        patterns = {pattern, posixpath.normpath(pattern), *(_resolve_pattern(pattern, base) for base in bases)}
        spellings = {lexical, real, *(os.path.relpath(path, base) for path in (lexical, real) for base in bases)}
        if os.path.isdir(real):
            spellings |= {spelling + "/" for spelling in spellings}
        if any(_matches_name(spelling, one, real) for spelling in spellings for one in patterns):
            return True
    return False


def _url_is_denied(pattern: str, text: str, folders: Sequence[str]) -> bool:
    url = _normalise_url(text)
    if url is None:
        return False
    plain = _normalise_url(pattern) or pattern
    return any(fnmatchcase(one, rule) for one in (url, unquote(url)) for rule in (pattern, plain, unquote(pattern)))


def _command_is_denied(pattern: str, text: str, folders: Sequence[str]) -> bool:
    """The program matches the first pattern, and some word each further one."""
    words, patterns = _split(text), _split(pattern)
    if not words or not patterns:
        return False
    names = {words[0], os.path.basename(words[0])}
    line = shlex.join([os.path.basename(words[0]), *words[1:]])
    if fnmatchcase(line, pattern) or fnmatchcase(shlex.join(words), pattern):
        return True
    return any(fnmatchcase(name, patterns[0]) for name in names) and all(
        one == "*" or any(_word_is_denied(one, word, folders) for word in words[1:]) for one in patterns[1:]
    )


def _word_is_denied(pattern: str, word: str, folders: Sequence[str]) -> bool:
    """Match a word, or the value of an option such as ``--file=secrets/key``."""
    return any(
        fnmatchcase(part, pattern) or _path_is_denied(pattern, part, folders)
        for part in {word, word.partition("=")[2]} - {""}
    )


_ALLOWS = {
    "text": _text_is_allowed,
    "path": _path_is_allowed,
    "url": _url_is_allowed,
    "command": _command_is_allowed,
}
_DENIES = {"text": _text_is_denied, "path": _path_is_denied, "url": _url_is_denied, "command": _command_is_denied}


# --- paths, URLs, words


def _resolve_pattern(pattern: str, base: str) -> str:
    """Return a pattern for absolute paths; links in front of its first wildcard are followed."""
    fixed: list[str] = []
    segments = os.path.expanduser(pattern).split("/")
    while segments and not _GLOB.search(segments[0]):
        fixed.append(segments.pop(0))
    prefix = glob.escape(os.path.realpath(os.path.join(base, "/".join(fixed) or ("/" if fixed else "."))))
    return "/".join([prefix.rstrip("/"), *segments]) if segments else prefix


def _matches_name(path: str, pattern: str, real: str) -> bool:
    """Match a path as its file system compares names."""
    path, pattern = unicodedata.normalize("NFC", path), unicodedata.normalize("NFC", pattern)
    if fnmatchcase(path, pattern):
        return True
    return fnmatchcase(path.casefold(), pattern.casefold()) and _ignores_case(real)


def _ignores_case(path: str) -> bool:
    """Whether the file system finds a path under another case, judged by the deepest part of it that exists."""
    while (name := os.path.basename(path)) and (name.swapcase() == name or not os.path.lexists(path)):
        path = os.path.dirname(path)
    with suppress(OSError):
        return bool(name) and os.path.samefile(path, os.path.join(os.path.dirname(path), name.swapcase()))
    return False


def _is_in(path: str, folder: str) -> bool:
    return path == folder or path.startswith(folder.rstrip("/") + "/")


def _split(text: str) -> list[str]:
    try:
        return shlex.split(text)
    except ValueError:
        return text.split()


def _normalise_url(text: str) -> str | None:
    """Return a URL as it is requested: without user, default port, ``..`` and fragment; None if it is none."""
    try:
        parts = urlsplit(text.strip())
        port = parts.port
    except ValueError:
        return None
    if not parts.scheme or not parts.hostname:
        return None
    scheme, host = parts.scheme.lower(), parts.hostname.lower().rstrip(".")
    netloc = host if port in (None, _DEFAULT_PORTS.get(scheme)) else f"{host}:{port}"
    path = posixpath.normpath(quote(unquote(parts.path), safe="/*?[]:@!$&'()+,;=~") or "/")
    path = "/" + path.lstrip("/") + ("/" if parts.path.endswith("/") and path != "/" else "")
    return f"{scheme}://{netloc}{path}" + (f"?{parts.query}" if parts.query else "")


def _split_origin(url: str) -> tuple[str, str]:
    scheme, mark, rest = url.partition("://")
    host, slash, path = rest.partition("/")
    return scheme + mark + host, slash + path
