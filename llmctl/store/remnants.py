"""Text that SQLite leaves behind: ``secure_delete`` overwrites what is deleted, but not the copies that stay in the
unused middle of a page when its rows move to another one. Looked for here, in the file itself.
"""

from __future__ import annotations

from collections.abc import Iterator

from llmctl.store.database import Database

#: Bytes of a text that tell it from any other, and where in it they are taken; more than a page is on pages of its
#: own, which are overwritten whole.
_LENGTH = 24
_OFFSETS = (0, 80, 400, 1200, 2400, 3600)
_MOST = 4000

_TEXTS = """
SELECT content AS text FROM {messages} m JOIN temp.doomed d ON d.id = m.id WHERE d.kind = 'message'
UNION ALL SELECT m.content_raw FROM {messages} m JOIN temp.doomed d ON d.id = m.id WHERE d.kind = 'message'
UNION ALL SELECT i.arguments || coalesce(i.result, '') FROM {tool_invocations} i
  JOIN temp.doomed d ON d.id = i.message_id WHERE d.kind = 'message'
UNION ALL SELECT n.body FROM {network_calls} n JOIN temp.doomed d ON d.id = n.request_id WHERE d.kind = 'request'
UNION ALL SELECT s.raw_output FROM {response_streams} s
  JOIN temp.doomed d ON d.id = s.request_id WHERE d.kind = 'request'
"""
#: B-tree pages (https://sqlite.org/fileformat2.html#b_tree_pages) -> length of the header.
_HEADERS = {0x02: 12, 0x05: 12, 0x0A: 8, 0x0D: 8}


def samples(database: Database) -> set[bytes]:
    """Return pieces of the texts that are written down to be deleted (see :mod:`llmctl.store.deletion`)."""
    found: set[bytes] = set()
    for row in database.rows(_TEXTS):
        text = (row["text"] or "").encode("utf-8", "replace")
        found.update(text[offset : offset + _LENGTH] for offset in _OFFSETS if len(text) - offset >= _LENGTH)
        if len(found) > _MOST:
            break
    return found


def are_left(path: str, pieces: set[bytes]) -> bool:
    """Tell whether the file of a hub still has any of these pieces where no row is.

    No connection of this process may be open on it: closing a file drops the locks that SQLite holds on it.
    """
    return any(piece in gap for gap in _gaps(path) for piece in pieces)


def _gaps(path: str) -> Iterator[bytes]:
    with open(path, "rb") as file:
        header = file.read(100)
        size = int.from_bytes(header[16:18], "big")
        size = 65536 if size == 1 else size
        file.seek(0)
        begin = 100
        while page := file.read(size):
            width = _HEADERS.get(page[begin])
            if width:
                cells = int.from_bytes(page[begin + 3 : begin + 5], "big")
                content = int.from_bytes(page[begin + 5 : begin + 7], "big") or 65536
                gap = page[begin + width + 2 * cells : content].strip(b"\0")
                if len(gap) >= _LENGTH:
                    yield gap
            begin = 0
