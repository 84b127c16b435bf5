"""How is a refusal told, on the bus and over HTTP (RFC 9457)?"""

from __future__ import annotations

from schemas.message import Message


class Problem(Message):
    """One clear sentence about what to change."""

    code: str
    """Stable, for programs: ``no_entry_file``."""
    title: str
    status: int = 400
    """The HTTP status that fits."""
    detail: str = ""
    field: str | None = None
    """The field of the spec that is meant, where there is one."""
    retry_after: float | None = None
    """Seconds after which the same may be asked again."""
