"""File types, detected from content."""

from __future__ import annotations

import codecs

import pytest

from llmctl.core.media_types import UNKNOWN, decode_text, detect, find_charset, guess_from_name

DOCX = "application/vnd.openxmlformats-officedocument.wordprocessingml.document"


def iso(brand: bytes) -> bytes:
    return b"\0\0\0\x18ftyp" + brand + bytes(20)


@pytest.mark.parametrize(
    ("name", "data", "kind"),
    [
        ("", b"\x89PNG\r\n\x1a\n....", "image/png"),
        ("a.txt", b"\xff\xd8\xff\xe0....", "image/jpeg"),
        ("", b"GIF89a....", "image/gif"),
        ("", b"RIFF\x24\0\0\0WEBPVP8 ", "image/webp"),
        ("", b"RIFF\x24\0\0\0WAVEfmt ", "audio/wav"),
        ("", iso(b"heic"), "image/heic"),
        ("", iso(b"avif"), "image/avif"),
        ("", iso(b"isom"), "video/mp4"),
        ("", iso(b"M4A "), "audio/mp4"),
        ("", iso(b"qt  "), "video/quicktime"),
        ("", b"\x1aE\xdf\xa3\x9fB\x86\x81\x01B\x82\x84webm", "video/webm"),
        ("", b"\x1aE\xdf\xa3\x9fB\x86\x81\x01B\x82\x88matroska", "video/x-matroska"),
        ("", b"ID3\4\0\0", "audio/mpeg"),
        ("", b"\xff\xfb\x90\x64" + bytes(50), "audio/mpeg"),
        ("", b"\xff\xf1\x50\x80" + bytes(50), "audio/aac"),
        ("", b"\xff\xff\xff\xff" + bytes(50), UNKNOWN),
        ("", b"OggS\0\2", "audio/ogg"),
        ("", b"%PDF-1.7\n%\xe2\xe3", "application/pdf"),
        ("a.docx", b"PK\3\4....", DOCX),
        ("a.pdf", b"PK\3\4....", "application/zip"),
        ("", b"PK\3\4....", "application/zip"),
        ("", b"BMW is a car", "text/plain"),
        ("a.png", b"no picture", "text/plain"),
        ("a.md", "grüß".encode(), "text/markdown"),
        ("data.json", b'{"a":1}', "application/json"),
        ("main.rs", b"fn main() {}", "text/plain"),
        ("a.txt", "grüß".encode("latin-1"), "text/plain"),
        ("a.mp3", bytes(range(256)), "audio/mpeg"),
        ("", b"\0\0\0\0", UNKNOWN),
    ],
)  # fmt: skip
def test_content_decides_the_type_before_the_name(name: str, data: bytes, kind: str) -> None:
    assert detect(name, data) == kind


@pytest.mark.parametrize(
    ("said", "data", "kind"),
    [
        ("text/html; charset=utf-8", b"<p>hi", "text/html"),
        ("image/png", b"%PDF-1.4", "application/pdf"),
        ("image/png", b"not at all", "text/plain"),
        ("text/plain", b"\xff\xfe\0\xd8", UNKNOWN),
        ("audio/x-odd", b"\xff\xfe\0\xd8", "audio/x-odd"),
    ],
)
def test_content_type_header_counts_when_the_content_is_unknown(said: str, data: bytes, kind: str) -> None:
    assert detect("", data, said) == kind


@pytest.mark.parametrize(
    ("path", "kind"),
    [("/a/b.PNG", "image/png"), ("/x.webp?size=2.5", "image/webp"), ("/get", UNKNOWN), ("/a.csv", "text/csv")],
)
def test_extension_of_a_url_decides_the_type(path: str, kind: str) -> None:
    assert guess_from_name(path) == kind


WORDS = "Grüße aus Köln\n"


@pytest.mark.parametrize(
    ("data", "name", "declared", "kind"),
    [
        (codecs.BOM_UTF16_LE + WORDS.encode("utf-16-le"), "note", None, "text/plain"),
        (codecs.BOM_UTF16_BE + WORDS.encode("utf-16-be"), "note.csv", None, "text/csv"),
        (codecs.BOM_UTF32_LE + WORDS.encode("utf-32-le"), "note.txt", None, "text/plain"),
        (codecs.BOM_UTF32_BE + WORDS.encode("utf-32-be"), "note.txt", None, "text/plain"),
        (codecs.BOM_UTF8 + WORDS.encode(), "note", None, "text/plain"),
        (WORDS.encode("utf-16-le"), "note.txt", None, "text/plain"),
        (WORDS.encode("utf-16-be"), "note.txt", None, "text/plain"),
        (WORDS.encode("latin-1"), "note.txt", None, "text/plain"),
        (b"Gr\x81\x80", "note.txt", None, "text/plain"),
        ("héllo".encode("shift_jis", "ignore") + "日本".encode("shift_jis"), "x", "text/plain; charset=Shift_JIS",
         "text/plain;charset=shift_jis"),
        ('<?xml version="1.0" encoding="ISO-8859-2"?><a>ł</a>'.encode("iso-8859-2"), "a.xml", None, "application/xml"),
    ],
)  # fmt: skip
def test_text_in_any_encoding_is_text(data: bytes, name: str, declared: str | None, kind: str) -> None:
    assert detect(name, data, declared) == kind
    text = decode_text(data, find_charset(kind))
    assert text in (WORDS, "Gr\ufffd€", "hllo日本", '<?xml version="1.0" encoding="ISO-8859-2"?><a>ł</a>')


@pytest.mark.parametrize(
    ("data", "name", "kind"),
    [
        (b"\xff\xfb\x90\x64" + bytes(64), "a.mp3", "audio/mpeg"),
        (b"\xff\xf1\x50\x80" + bytes(64), "a.aac", "audio/aac"),
        (b"\xff\xfe\x00\x01\x00\xd8" + bytes(64), "a.bin", UNKNOWN),  # half a surrogate and NULs: no UTF-16
        (bytes(range(256)), "a.txt", UNKNOWN),
        ("Köln".encode("latin-1"), "a.bin", UNKNOWN),
    ],
)
def test_other_bytes_are_no_text(data: bytes, name: str, kind: str) -> None:
    assert detect(name, data) == kind
