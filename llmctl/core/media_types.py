"""Detect the media type of a file, by its content before its name.

The names are those that providers accept (``audio/wav``, ``image/heic``); libraries that know more formats use other
names for some, or guess from two bytes. Sources: https://mimesniff.spec.whatwg.org and the formats' own pages.
"""

from __future__ import annotations

UNKNOWN = "application/octet-stream"

_MAGIC = (
    (b"\x89PNG\r\n\x1a\n", "image/png"),
    (b"\xff\xd8\xff", "image/jpeg"),
    (b"GIF87a", "image/gif"),
    (b"GIF89a", "image/gif"),
    (b"II*\0", "image/tiff"),
    (b"MM\0*", "image/tiff"),
    (b"%PDF-", "application/pdf"),
    (b"ID3", "audio/mpeg"),
    (b"OggS", "audio/ogg"),
    (b"fLaC", "audio/flac"),
    (b"#!AMR", "audio/amr"),
    (b"FORM", "audio/aiff"),
)

_RIFF = {b"WEBP": "image/webp", b"WAVE": "audio/wav", b"AVI ": "video/x-msvideo"}

#: Brands of ISO media files (four letters behind ``ftyp``); others are video/mp4.
_BRANDS = {
    **dict.fromkeys((b"heic", b"heix", b"hevc", b"heim", b"heis"), "image/heic"),
    **dict.fromkeys((b"mif1", b"msf1"), "image/heif"),
    **dict.fromkeys((b"avif", b"avis"), "image/avif"),
    **dict.fromkeys((b"M4A ", b"M4B ", b"M4P "), "audio/mp4"),
    b"qt  ": "video/quicktime",
    b"3gp4": "video/3gpp",
    b"3gp5": "video/3gpp",
}

#: By file extension: binary formats (if there are no bytes to examine) and text formats.
_BINARY = {
    **{name: f"image/{name}" for name in ("png", "gif", "webp", "heic", "heif", "avif", "bmp", "tiff")},
    **{"jpg": "image/jpeg", "jpeg": "image/jpeg", "tif": "image/tiff"},
    **{"mp3": "audio/mpeg", "wav": "audio/wav", "ogg": "audio/ogg", "opus": "audio/ogg", "flac": "audio/flac"},
    **{"m4a": "audio/mp4", "aac": "audio/aac", "aiff": "audio/aiff"},
    **{"mp4": "video/mp4", "m4v": "video/mp4", "webm": "video/webm", "mov": "video/quicktime"},
    **{"mkv": "video/x-matroska", "avi": "video/x-msvideo", "mpeg": "video/mpeg", "mpg": "video/mpeg"},
    **{"pdf": "application/pdf", "zip": "application/zip", "epub": "application/epub+zip"},
    "docx": "application/vnd.openxmlformats-officedocument.wordprocessingml.document",
    "xlsx": "application/vnd.openxmlformats-officedocument.spreadsheetml.sheet",
    "pptx": "application/vnd.openxmlformats-officedocument.presentationml.presentation",
    "odt": "application/vnd.oasis.opendocument.text",
    "ods": "application/vnd.oasis.opendocument.spreadsheet",
    "odp": "application/vnd.oasis.opendocument.presentation",
}
_TEXT = {
    **{"txt": "text/plain", "log": "text/plain", "md": "text/markdown", "markdown": "text/markdown"},
    **{
        "html": "text/html",
        "htm": "text/html",
        "css": "text/css",
        "csv": "text/csv",
        "tsv": "text/tab-separated-values",
    },
    **{"json": "application/json", "jsonl": "application/x-ndjson", "ndjson": "application/x-ndjson"},
    **{"xml": "application/xml", "svg": "image/svg+xml", "yaml": "application/yaml", "yml": "application/yaml"},
    **{"toml": "application/toml", "sql": "application/sql", "js": "text/javascript", "py": "text/x-python"},
}
#: Text types that do not start with ``text/``, besides those of known extensions.
_TEXT_TYPES = {*_TEXT.values(), "application/javascript", "application/x-sh", "application/x-yaml"}
_ZIP_BASED = {ending: kind for ending, kind in _BINARY.items() if kind.startswith("application/") and ending != "pdf"}


def detect(name: str, data: bytes, declared: str | None = None) -> str:
    """Return the type of a file by its content, then by what a server ``declared``, then by its name.

    UTF-8 text, and text with a byte order mark, counts as text, whatever its name. Text in another encoding needs a
    name or a declared type of a text; the encoding that a server declares stays in the type.
    """
    if _encoding_by_mark(data) and decode_text(data) is not None:
        return _TEXT.get(_extension(name), "text/plain")
    detected = _detect_by_magic(data)
    if detected == "application/zip":
        return _ZIP_BASED.get(_extension(name), detected)
    if detected:
        return detected
    charset = find_charset(declared or "")
    declared = (declared or "").partition(";")[0].strip().lower()
    if is_utf8(data):
        return declared if is_text(declared) else _TEXT.get(_extension(name), "text/plain")
    text_type = declared if is_text(declared) else _TEXT.get(_extension(name), "")
    if text_type and decode_text(data, charset) is not None:
        return f"{text_type};charset={charset}" if charset else text_type
    return declared if "/" in declared and not is_text(declared) else _BINARY.get(_extension(name), UNKNOWN)


def guess_from_name(name: str) -> str:
    """Return the type by a file name or URL path only; UNKNOWN if the extension is unknown."""
    ending = _extension(name.partition("?")[0].partition("#")[0])
    return _BINARY.get(ending) or _TEXT.get(ending, UNKNOWN)


def is_text(media_type: str) -> bool:
    """Return whether a media type is text that a model can read as part of a prompt."""
    plain = media_type.partition(";")[0].strip().lower()
    return plain.startswith("text/") or plain in _TEXT_TYPES or plain.endswith(("+json", "+xml"))


#: Byte order marks; the longer ones first, because one begins like a shorter one.
_MARKS = (
    (b"\xff\xfe\0\0", "utf-32"),
    (b"\0\0\xfe\xff", "utf-32"),
    (b"\xff\xfe", "utf-16"),
    (b"\xfe\xff", "utf-16"),
    (b"\xef\xbb\xbf", "utf-8-sig"),
)
#: Control characters that no text has: what has them is no text in a one-byte encoding.
_CONTROLS = bytes(code for code in range(32) if code not in b"\t\n\r\f\x1b\b")
#: Where XML and HTML name their encoding, within their first kilobyte.
_DECLARED_ENCODING = rb"(?i)(?:encoding|charset)\s*=\s*[\"']?([a-z0-9_.:-]+)"


def find_charset(media_type: str) -> str | None:
    """Return the encoding that a media type names, or None."""
    for parameter in media_type.split(";")[1:]:
        name, _, value = parameter.partition("=")
        if name.strip().lower() == "charset":
            return value.strip().strip("\"'").lower() or None
    return None


def decode_text(data: bytes, charset: str | None = None) -> str | None:
    """Return the text of a file without its byte order mark; None if the bytes are no text.

    Tried in order: the byte order mark, UTF-8, the declared ``charset``, UTF-16 without a mark, the encoding that XML
    or HTML names, Windows-1252. https://encoding.spec.whatwg.org
    """
    if encoding := _encoding_by_mark(data):
        return _decode(data, encoding)
    for encoding in ("utf-8", charset, _guess_utf16(data), _find_declared_encoding(data)):
        if encoding and (text := _decode(data, encoding)) is not None:
            return text
    if data.translate(None, _CONTROLS) != data:
        return None
    return data.decode("cp1252", "replace")


def _encoding_by_mark(data: bytes) -> str | None:
    return next((encoding for mark, encoding in _MARKS if data.startswith(mark)), None)


def _decode(data: bytes, encoding: str) -> str | None:
    try:
        text = data.decode(encoding)
    except (UnicodeDecodeError, LookupError):
        return None
    return None if "\0" in text else text.removeprefix("\ufeff")


def _guess_utf16(data: bytes) -> str | None:
    """Return the kind of UTF-16 in which most characters are of Latin script: every second byte is NUL."""
    sample = data[:2000]
    half = len(sample) // 2
    if len(data) % 2 or half < 2:
        return None
    zeros = (sample[0::2].count(0), sample[1::2].count(0))
    if max(zeros) < half * 0.4 or min(zeros) > half * 0.05:
        return None
    return "utf-16-le" if zeros[1] > zeros[0] else "utf-16-be"


def _find_declared_encoding(data: bytes) -> str | None:
    import re

    found = re.search(_DECLARED_ENCODING, data[:1024]) if data.lstrip()[:1] == b"<" else None
    return found[1].decode("ascii") if found else None


def is_utf8(data: bytes) -> bool:
    """Return whether bytes are text: UTF-8 without NUL."""
    try:
        return b"\0" not in data and data.decode("utf-8") is not None
    except UnicodeDecodeError:
        return False


def _detect_by_magic(data: bytes) -> str | None:
    for magic, kind in _MAGIC:
        if data.startswith(magic) and (magic != b"FORM" or data[8:12] in (b"AIFF", b"AIFC")):
            return kind
    if data[:4] == b"RIFF":
        return _RIFF.get(data[8:12])
    if data[4:8] == b"ftyp":
        return _BRANDS.get(data[8:12], "video/mp4")
    if data[:4] == b"\x1aE\xdf\xa3":
        return "video/webm" if b"webm" in data[:64] else "video/x-matroska"
    if data[:4] in (b"PK\3\4", b"PK\5\6"):
        return "application/zip"
    if data[:2] == b"BM" and data[6:10] == bytes(4):
        return "image/bmp"
    return _detect_audio_frame(data)


def _detect_audio_frame(data: bytes) -> str | None:
    """Detect a bare MPEG audio frame by its header: sync bits and no reserved values."""
    if len(data) < 4 or data[0] != 0xFF:
        return None
    if data[1] & 0xF6 == 0xF0:
        return "audio/aac"
    version, layer, rate = data[1] >> 3 & 3, data[1] >> 1 & 3, data[2]
    is_valid = data[1] & 0xE0 == 0xE0 and version != 1 and layer != 0
    return "audio/mpeg" if is_valid and rate >> 4 not in (0, 15) and rate >> 2 & 3 != 3 else None


def _extension(name: str) -> str:
    return name.rpartition(".")[2].lower() if "." in name else ""
