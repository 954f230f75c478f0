"""The media type of a file, told by its content before its name.

The names are those that providers take (``audio/wav``, ``image/heic``); libraries that know more formats name some
of these otherwise, or guess at two letters. Sources: https://mimesniff.spec.whatwg.org and the formats' own pages.
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

#: By the ending of a name: binary formats whose bytes are not at hand, and kinds of text.
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
_ZIPPED = {ending: kind for ending, kind in _BINARY.items() if kind.startswith("application/") and ending != "pdf"}


def media_type(name: str, data: bytes, said: str | None = None) -> str:
    """Tell the type of a file by its content, then by what a server ``said`` it is, then by its name.

    UTF-8 text is text, whatever its name says.
    """
    known = _by_magic(data)
    if known == "application/zip":
        return _ZIPPED.get(_ending(name), known)
    if known:
        return known
    said = (said or "").partition(";")[0].strip().lower()
    if is_utf8(data):
        return said if is_textual(said) else _TEXT.get(_ending(name), "text/plain")
    return said if "/" in said and not is_textual(said) else _BINARY.get(_ending(name), UNKNOWN)


def by_name(name: str) -> str:
    """Tell the type by a name or the path of a URL alone; UNKNOWN where its ending says nothing."""
    ending = _ending(name.partition("?")[0].partition("#")[0])
    return _BINARY.get(ending) or _TEXT.get(ending, UNKNOWN)


def is_textual(media_type: str) -> bool:
    """Say whether a type is one of text: what a model can read as part of a prompt."""
    return media_type.startswith("text/") or media_type in _TEXT.values() or media_type.endswith(("+json", "+xml"))


def is_utf8(data: bytes) -> bool:
    """Say whether bytes are text: UTF-8 without a NUL."""
    try:
        return b"\0" not in data and data.decode("utf-8") is not None
    except UnicodeDecodeError:
        return False


def _by_magic(data: bytes) -> str | None:
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
    return _audio_frame(data)


def _audio_frame(data: bytes) -> str | None:
    """Tell a bare MPEG audio frame by its header: sync bits, then no value that is reserved."""
    if len(data) < 4 or data[0] != 0xFF:
        return None
    if data[1] & 0xF6 == 0xF0:
        return "audio/aac"
    version, layer, rate = data[1] >> 3 & 3, data[1] >> 1 & 3, data[2]
    whole = data[1] & 0xE0 == 0xE0 and version != 1 and layer != 0
    return "audio/mpeg" if whole and rate >> 4 not in (0, 15) and rate >> 2 & 3 != 3 else None


def _ending(name: str) -> str:
    return name.rpartition(".")[2].lower() if "." in name else ""
