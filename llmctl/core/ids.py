"""Record ids: lower-case version 4 UUIDs, as the seeds and Prisma's ``uuid()`` create them."""

from __future__ import annotations

from uuid import uuid4


def new_id() -> str:
    """Return a random version 4 UUID."""
    return str(uuid4())
