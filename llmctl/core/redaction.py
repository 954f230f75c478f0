"""Redact keys from texts, headers and URLs before they are stored, shown or exported; linear in the text."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from functools import cached_property, lru_cache
from typing import Any, AnyStr, TypeVar

from llmctl.core.chat import (
    ChatResponse,
    File,
    StreamEvent,
    TextDelta,
    Unreadable,
    UsageReport,
    buffer_incomplete_tail,
)
from llmctl.core.errors import LlmctlError
from llmctl.core.stored_values import dumps, loads
from llmctl.core.values import Value

REDACTED = "[redacted]"

V = TypeVar("V", bound=Value)

# Each shape is (literal prefix, pattern of the rest). Searching for the prefix first keeps texts without keys cheap;
# patterns are compiled when their prefix is found, not at start-up. Every pattern is linear: look-aheads are bounded
# and quantifiers never nest. A digit is required if prose, CSS classes or identifiers share the prefix
# ("sk-folding-cube", "hf_hub_download").
_DIGIT = r"(?=[\w-]{0,48}[0-9])"
_SHAPES = (
    ("sk-", _DIGIT + r"[\w-]{12,}"),
    ("csk-", _DIGIT + r"[\w-]{12,}"),
    ("gsk_", _DIGIT + r"[A-Za-z0-9]{12,}"),
    ("xai-", _DIGIT + r"[\w-]{12,}"),
    ("pplx-", _DIGIT + r"[\w-]{12,}"),
    ("nvapi-", _DIGIT + r"[\w-]{12,}"),
    ("hf_", _DIGIT + r"[A-Za-z0-9]{12,}"),
    ("fw_", _DIGIT + r"[A-Za-z0-9]{12,}"),
    ("r8_", _DIGIT + r"[A-Za-z0-9]{12,}"),
    ("tgp_v1_", _DIGIT + r"[\w-]{12,}"),
    ("sk_live_", _DIGIT + r"[A-Za-z0-9]{12,}"),
    ("ghp_", _DIGIT + r"[A-Za-z0-9]{12,}"),
    ("gho_", _DIGIT + r"[A-Za-z0-9]{12,}"),
    ("ghs_", _DIGIT + r"[A-Za-z0-9]{12,}"),
    ("github_pat_", _DIGIT + r"\w{12,}"),
    ("glpat-", _DIGIT + r"[\w-]{12,}"),
    ("xoxb-", _DIGIT + r"[\w-]{12,}"),
    ("xoxp-", _DIGIT + r"[\w-]{12,}"),
    ("AIza", _DIGIT + r"[\w-]{24,}"),
    ("ya29.", _DIGIT + r"[\w-]{12,}"),
    ("AKIA", r"[A-Z0-9]{16}\b"),
    ("eyJ", r"[\w-]{10,}\.eyJ[\w-]{10,}\.[\w-]{10,}"),
)
#: The shapes by a character that they contain: faster to find than a prefix, and missing from most texts.
_SHAPES_BY_MARK = tuple(
    (mark, tuple(shape for shape in _SHAPES if next((m for m in "-_" if m in shape[0]), shape[0][0]) == mark))
    for mark in "-_Aye"
)
# Sixteen characters, or fewer with a digit: "bearer authentication" is prose.
_BEARER = r"([Bb]earer\s{1,4})(?:[\w.~+/=-]{16,}|(?=[\w.~+/=-]{0,48}[0-9])[\w.~+/=-]{6,})"


def mask_keys(text: str) -> str:
    """Replace everything that looks like a provider key, or follows ``Bearer``, with ``[redacted]``."""
    present = [shape for mark, shapes in _SHAPES_BY_MARK if mark in text for shape in shapes if shape[0] in text]
    for prefix, rest in present:
        # Not inside a word that merely ends with the prefix ("task-", "disk-").
        text = re.sub(f"{re.escape(prefix)}(?<![A-Za-z0-9]{re.escape(prefix)}){rest}", REDACTED, text)
    if "earer" in text:
        text = re.sub(_BEARER, rf"\1{REDACTED}", text)
    return text


#: Shorter values are not real secrets and would match ordinary text.
SHORTEST_SECRET = 6

_SECRET_HEADERS = {
    "authorization", "proxy-authorization", "cookie", "set-cookie", "api-key", "apikey", "x-auth-key",
    "ocp-apim-subscription-key", "x-amz-security-token", "x-amz-content-sha256", "authentication",
}  # fmt: skip
_SECRET_HEADER_SUFFIXES = (
    "-api-key", "-apikey", "-token", "-secret", "-password", "-signature", "-credential", "-access-key",
    "-authorization", "-auth",
)  # fmt: skip
_PARAMETERS = (
    "key|api[_-]?key|apikey|token|access[_-]?token|auth[_-]?token|refresh[_-]?token|id[_-]?token|client[_-]?secret"
    "|secret|password|passwd|pwd|sig|signature|credential|subscription-key|x-amz-signature|x-amz-credential"
    "|x-amz-security-token|x-goog-signature|x-goog-credential|awsaccesskeyid"
)
#: Words of an option's or a header's name. ``stop_token`` and ``max_tokens`` are none.
_SECRET_NAMES = (
    r"(?i)(token|bearer|jwt|cookie)"
    r"|(.*[-_])?(api[-_]?key|apikey|(access|private|signing|subscription|client|account|master|auth)[-_]?key|secret"
    r"|password|passwd|passphrase|credentials?|authorization|(api|auth|access|bearer|refresh|id|session)[-_]?token)"
    r"([-_](id|key|value))?"
)


def is_secret_name(name: str) -> bool:
    """Return whether the name of an option or header says that its value is a secret."""
    words = re.sub(r"(?<=[a-z0-9])(?=[A-Z])", "_", name)
    return re.fullmatch(_SECRET_NAMES, words) is not None or re.fullmatch(_SECRET_NAMES, name) is not None


def find_secret_values(value: Any) -> list[str]:
    """Return the texts in a JSON value whose name, at any depth, says that they are secrets."""
    match value:
        case Mapping():
            own = [str(item) for name, item in value.items() if _is_word(item) and is_secret_name(str(name))]
            return [*own, *(secret for item in value.values() for secret in find_secret_values(item))]
        case list() | tuple():
            return [secret for item in value for secret in find_secret_values(item)]
    return []


def _is_word(value: Any) -> bool:
    """Return whether a JSON value is a text that is not empty, or a number."""
    return (isinstance(value, str) and bool(value)) or (isinstance(value, int) and not isinstance(value, bool))


# Strings, compiled when a URL is found: not every start-up needs them.
_PARAMETER = rf"(?i)([?&](?:{_PARAMETERS})=)[^&#\s\"'<>\\]+"
_USERINFO = r"(://)[^/\s@?#\"'<>]{1,512}@"


def redact_headers(headers: Mapping[str, str], secrets: Iterable[str] = ()) -> dict[str, str]:
    """Return the headers without secrets; headers that exist to carry one lose their whole value."""
    usable = _usable_secrets(secrets)
    return {
        name: REDACTED if _is_secret_header(name.lower()) else _redact(value, usable) for name, value in headers.items()
    }


def redact_text(text: str, secrets: Iterable[str] = ()) -> str:
    """Return the text without the known secrets (also URL-encoded, JSON-escaped or in base64), anything that looks
    like a key, and the user, password and key parameters of URLs.
    """
    return _redact(text, _usable_secrets(secrets))


def redact_url(url: str, secrets: Iterable[str] = ()) -> str:
    """Return the URL without user, password, key parameters and known secrets."""
    return _redact(url, _usable_secrets(secrets))


def _redact(text: str, secrets: tuple[str, ...]) -> str:
    for spelling in _list_spellings(secrets):
        text = text.replace(spelling, REDACTED)
    text = mask_keys(text)
    if "@" in text and "://" in text:
        text = re.sub(_USERINFO, rf"\1{REDACTED}@", text)
    if "=" in text and ("?" in text or "&" in text):
        text = re.sub(_PARAMETER, rf"\1{REDACTED}", text)
    return text


def _is_secret_header(name: str) -> bool:
    return name in _SECRET_HEADERS or name.endswith(_SECRET_HEADER_SUFFIXES)


def _usable_secrets(secrets: Iterable[str]) -> tuple[str, ...]:
    return tuple(sorted({secret for secret in secrets if len(secret) >= SHORTEST_SECRET}))


@lru_cache(maxsize=16)
def _list_spellings(secrets: tuple[str, ...]) -> tuple[str, ...]:
    """Return every spelling of the secrets, longest first, so that none is only partly redacted."""
    found = {spelling for secret in secrets for spelling in _spell(secret)}
    return tuple(sorted(found, key=lambda spelling: (-len(spelling), spelling)))


def _spell(secret: str) -> Iterable[str]:
    from urllib.parse import quote, quote_plus  # only with a key

    yield secret
    yield quote(secret, safe="")
    yield quote(secret)
    yield quote_plus(secret)
    yield json.dumps(secret)[1:-1]
    yield json.dumps(secret, ensure_ascii=False)[1:-1]
    for piece in _base64_pieces(secret.encode("utf-8", "replace")):
        yield piece
        yield piece.replace("+", "-").replace("/", "_")


def _base64_pieces(secret: bytes) -> Iterable[str]:
    """Yield the secret as it appears inside a longer base64 text (``user:secret``), for each of the three alignments.

    Characters that depend on neighbouring bytes are omitted.
    """
    from base64 import b64encode  # only with a key

    for before in range(3):
        encoded = b64encode(b"\0" * before + secret).decode("ascii").rstrip("=")
        whole = (before + len(secret)) * 8 // 6
        piece = encoded[-(-before * 8 // 6) : whole]
        if len(piece) >= SHORTEST_SECRET:
            yield piece


#: Nothing shorter can be a key, or an address or number worth hiding.
_MIN_KEY_LENGTH, _MIN_PERSONAL_LENGTH = 13, 5

#: Folders, scripts and names repeat: results of this many short texts are cached.
_MAX_CACHED_LENGTH, _MAX_CACHED_TEXTS = 100, 5_000
_STRUCTURAL_COLUMNS = frozenset(
    [
        "id",
        "status",
        "role",
        "type",
        "origin",
        "content_hash",
        "body_hash",
        "version_hash",
        "finish_reason",
        "provider",
        "model",
        "response_model",
        "media_type",
        "method",
        "effect",
        "permission",
    ]
)


def is_free_text(column: str) -> bool:
    """Return whether a column holds free text rather than an id, a time or one of our own values."""
    return column not in _STRUCTURAL_COLUMNS and not column.endswith(("_id", "_at"))


class Masker:
    """Masks texts and counts those it changed."""

    def __init__(self, *, personal: bool = False) -> None:
        self.personal = personal
        #: Shorter texts are returned unchanged.
        self.min_length = _MIN_PERSONAL_LENGTH if personal else _MIN_KEY_LENGTH
        self.changed_count = 0
        self._unchanged: set[str] = set()

    def mask_text(self, text: str) -> str:
        """Return a text with everything that looks like a key masked (and personal data, if enabled)."""
        if len(text) < self.min_length:
            return text
        if text in self._unchanged:
            return text
        masked = mask_keys(text)
        if self.personal:
            from llmctl.core.pii_patterns import mask_personal  # only on request

            masked = mask_personal(masked)
        if masked is not text and masked != text:
            self.changed_count += 1
        elif len(text) < _MAX_CACHED_LENGTH and len(self._unchanged) < _MAX_CACHED_TEXTS:
            self._unchanged.add(text)
        return masked

    def mask_json(self, text: str) -> str:
        """Return a JSON text with its strings masked; numbers and structure are unchanged."""
        if not self.personal:
            return self.mask_text(text)
        try:
            value = loads(text)
        except (ValueError, RecursionError):
            return self.mask_text(text)
        masked = self.mask_value(value)
        return text if masked == value else dumps(masked)

    def mask_value(self, value: Any) -> Any:
        """Return a JSON value with every string in it masked."""
        match value:
            case str():
                return self.mask_text(value)
            case list():
                return [self.mask_value(item) for item in value]
            case dict():
                return {key: self.mask_value(item) for key, item in value.items()}
            case _:
                return value


#: Local servers get plain words as keys ("ollama", "lm-studio"), which may well occur in answers.
_MIN_WORD_LENGTH = 12

#: Characters of a key that identify it.
_MIN_PREFIX_LENGTH = 8


class Redaction:
    """The secrets of a turn, and how each kind of text is masked."""

    def __init__(self, secrets: Sequence[str] = ()) -> None:
        self.secrets = tuple(secrets)
        #: Those that are masked in what a server says, too; longest first.
        self._maskable = tuple(sorted(filter(_is_maskable, self.secrets), key=len, reverse=True))
        #: What a text contains in which one of them is escaped.
        self._escape_mark = "\\u" if all(map(_is_never_escaped, self._maskable)) else "\\"

    def text(self, text: str) -> str:
        """Return the text without the turn's own secrets, plain or escaped as in JSON."""
        if not self._maskable:
            return text
        for secret in self._maskable:
            text = text.replace(secret, REDACTED)
        return self._escaped.sub(REDACTED, text) if self._escape_mark in text else text

    def raw(self, data: bytes) -> bytes:
        """Return the bytes without the turn's own secrets, plain or escaped as in JSON."""
        if not self._maskable:
            return data
        for secret in self._maskable:
            data = data.replace(secret.encode(), REDACTED.encode())
        return self._escaped_bytes.sub(REDACTED.encode(), data) if self._escape_mark.encode() in data else data

    @cached_property
    def _escaped(self) -> re.Pattern[str]:
        return re.compile("|".join(map(_escaped_pattern, self._maskable)))

    @cached_property
    def _escaped_bytes(self) -> re.Pattern[bytes]:
        return re.compile(self._escaped.pattern.encode())

    def value(self, value: Any) -> Any:
        """Return a JSON value with the turn's own secrets masked in every string of it, names included."""
        match value:
            case str():
                return self.text(value)
            case Mapping():
                return {self.value(key): self.value(item) for key, item in value.items()}
            case list() | tuple():
                return [self.value(item) for item in value]
        return value

    def response(self, response: ChatResponse) -> ChatResponse:
        """Return a whole response without the secrets: also those that came in pieces, which no event shows."""
        if not self._maskable:
            return response
        message = response.message
        parts = tuple(part if isinstance(part, File) else self._fields(part) for part in message.parts)
        return response.replace(
            message=message.replace(parts=parts, metadata=self.value(message.metadata)),
            usage=response.usage and response.usage.replace(details=self.value(response.usage.details)),
            raw_finish_reason=self.value(response.raw_finish_reason),
            model=self.value(response.model),
            response_id=self.value(response.response_id),
            unreadable=tuple(map(self._redact_truncated, response.unreadable)),
        )

    def _fields(self, record: V) -> V:
        """Return a value with the secrets masked in all its fields."""
        return type(record)(*map(self.value, record.to_dict().values()))

    def partial_secret_bytes(self, data: bytes) -> int:
        """Return how many bytes at the end may be the beginning of a secret."""
        return max((_overlap(data, secret.encode()) for secret in self._maskable), default=0)

    def count(self, text: str) -> int:
        """Return how many secrets a text contains, plain or escaped."""
        if not self._maskable:
            return 0
        found = sum(text.count(secret) for secret in self._maskable)
        return found + (len(self._escaped.findall(text)) if self._escape_mark in text else 0)

    def events(
        self,
        events: Iterable[StreamEvent],
        on_redacted: Callable[[int], None],
        on_redacted_field: Callable[[], None],
    ) -> Iterator[StreamEvent]:
        """Yield events without the secrets, even where one is spread over several events.

        ``on_redacted`` gets the number of secrets that were masked in text; ``on_redacted_field`` is called where one
        was in another field.
        """
        if not self._maskable:
            return iter(events)

        def split(text: str) -> tuple[str, str]:
            if found := self.count(text):
                on_redacted(found)
                text = self.text(text)
            tail = max(_overlap(text, secret) for secret in self._maskable)
            return text[: len(text) - tail], text[len(text) - tail :]

        def redact_fields(event: StreamEvent) -> StreamEvent:
            redacted = self._redact_fields(event)
            if redacted != event:
                on_redacted_field()
            return redacted

        return map(redact_fields, buffer_incomplete_tail(events, split, self.text))

    def error(self, error: LlmctlError) -> None:
        """Mask the secrets in an error, in place: servers like to quote the key they refuse."""
        error.message = self._redact_truncated(error.message)
        error.reason = self.text(error.reason) if error.reason else None
        error.hint = self.text(error.hint) if error.hint else None
        error.args = (error.message,)

    def _redact_fields(self, event: StreamEvent) -> StreamEvent:
        """Mask the secrets in the fields of an event, whose text has been looked at already."""
        match event:
            case TextDelta() if not event.metadata:
                return event
            case Unreadable(detail):
                return Unreadable(self._redact_truncated(detail))
            case UsageReport():
                return event  # numbers
        return self._fields(event)

    def _redact_truncated(self, text: str) -> str:
        """Mask secrets in a text that may have been cut inside one."""
        text = self.text(text)
        for secret in self._maskable:
            for size in range(len(secret), _MIN_PREFIX_LENGTH - 1, -1):
                if secret[:size] in text:
                    text = text.replace(secret[:size], REDACTED)
        return text

    def request_text(self, text: str) -> str:
        """Return a request body without known secrets and without what looks like one."""
        return redact_text(text, self.secrets)

    def headers(self, headers: Mapping[str, str]) -> dict[str, str]:
        return {self._header_name(name): value for name, value in redact_headers(headers, self.secrets).items()}

    def _header_name(self, name: str) -> str:
        """Return the name of a header, which HTTP clients may have put in lower case."""
        return REDACTED if any(secret.lower() in name.lower() for secret in self._maskable) else name

    def url(self, url: str) -> str:
        return redact_url(url, self.secrets)


def _escaped_pattern(secret: str) -> str:
    """Return a pattern for a secret in which any character may be escaped, once or in JSON within JSON."""
    return "".join(map(_escaped_character, secret))


def _escaped_character(character: str) -> str:
    units = character.encode("utf-16-be").hex()
    escape = "".join(
        r"\\+u" + "".join(f"[{c}{c.upper()}]" if c.isalpha() else c for c in units[place : place + 4])
        for place in range(0, len(units), 4)
    )
    plain = ("" if _is_never_escaped(character) else r"\\*") + re.escape(character)
    return f"(?:{plain}|{escape})"


def _is_never_escaped(text: str) -> bool:
    """Return whether JSON writers leave all characters of a text alone, unless they write all of it as numbers."""
    return text.replace("-", "").replace("_", "").replace(".", "").isalnum() or text in "-_."


def _is_maskable(secret: str) -> bool:
    return len(secret) >= SHORTEST_SECRET and (len(secret) >= _MIN_WORD_LENGTH or not secret.replace("-", "").isalpha())


def _overlap(text: AnyStr, secret: AnyStr) -> int:
    """Return the length of the longest end of a text that is a proper prefix of a secret."""
    last = text[-1:]
    size = min(len(text), len(secret) - 1)
    while size and (size := secret.rfind(last, 0, size) + 1):
        if text.endswith(secret[:size]):
            return size
        size -= 1
    return 0
