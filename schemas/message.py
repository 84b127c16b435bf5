"""What is every message on the bus made of?"""

from __future__ import annotations

from pydantic import BaseModel, ConfigDict


class Message(BaseModel):
    """A frozen wire message; readers ignore fields that they do not know."""

    model_config = ConfigDict(frozen=True, extra="ignore")


class Empty(Message):
    """A request or an answer that carries nothing."""
