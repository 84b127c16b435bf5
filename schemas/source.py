"""From which state of a git repository was a bundle made?"""

from __future__ import annotations

from pydantic import BaseModel, ConfigDict, Field

PRINTABLE = r"^[^\x00-\x1f\x7f-\x9f\u2028\u2029]*$"


class Source(BaseModel):
    """Told by whoever submits; nothing is decided by it."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    commit: str = Field(pattern=r"^([0-9a-f]{40}|[0-9a-f]{64})$")
    branch: str = Field(default="", max_length=255, pattern=PRINTABLE)
    """Empty where none is checked out."""
    dirty: bool | None = None
    """Whether the folder has what is not in the commit; None where nobody could tell."""
