"""What goes in over HTTP where it is about secrets?"""

from __future__ import annotations

import base64
import binascii
from typing import Self

from pydantic import ConfigDict, Field, model_validator

from schemas.message import Message
from schemas.secret import VALUE_BYTES


class SecretBody(Message):
    """A value: text, or any bytes in base64."""

    model_config = ConfigDict(hide_input_in_errors=True)

    value: str | None = Field(default=None, repr=False)
    base64: str | None = Field(default=None, repr=False)

    @model_validator(mode="after")
    def check(self) -> Self:
        size = len(self.data())
        if not 0 < size <= VALUE_BYTES:
            raise ValueError(f"a value has 1 to {VALUE_BYTES} bytes, and this one has {size}")
        return self

    def data(self) -> bytes:
        if (self.value is None) == (self.base64 is None):
            raise ValueError("send either value or base64")
        try:
            if self.base64 is not None:
                return base64.b64decode(self.base64, validate=True)
            return (self.value or "").encode()
        except (binascii.Error, UnicodeEncodeError):
            raise ValueError("the value is no base64, or no text") from None
