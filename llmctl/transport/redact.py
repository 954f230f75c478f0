"""Redact keys from headers, URLs and texts before they are stored or shown. Linear in the text."""

from __future__ import annotations

import json
import re
from base64 import b64encode
from collections.abc import Iterable, Mapping
from functools import lru_cache
from urllib.parse import quote, quote_plus

from llmctl.core.redaction.secret_patterns import REDACTED, mask_keys

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
    if "://" in text:
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
    for before in range(3):
        encoded = b64encode(b"\0" * before + secret).decode("ascii").rstrip("=")
        whole = (before + len(secret)) * 8 // 6
        piece = encoded[-(-before * 8 // 6) : whole]
        if len(piece) >= SHORTEST_SECRET:
            yield piece
