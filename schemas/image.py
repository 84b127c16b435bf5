"""Is this the name of an image? Pure."""

from __future__ import annotations

import re

LONGEST = 255
HOST = (
    r"(?:(?:localhost|[A-Za-z0-9-]+(?:\.[A-Za-z0-9-]+)+|\[[0-9a-f:]+\])(?::\d+)?|[A-Za-z0-9-]+:\d+)"
)
PART = r"[a-z0-9]+(?:(?:[._]|__|-+)[a-z0-9]+)*"
IMAGE = re.compile(
    rf"(?:{HOST}/)?{PART}(?:/{PART})*(?::[A-Za-z0-9_][A-Za-z0-9_.-]{{0,127}})?(?:@sha256:[0-9a-f]{{64}})?"
)
PYTHON = "{python}"
"""In a pattern: where the version that a job asks for is put."""


def image_name(text: str) -> str:
    """The text; raises ``ValueError`` where no engine would take it."""
    if len(text) > LONGEST or not IMAGE.fullmatch(text):
        raise ValueError(
            f"{text[:80]!r} is not the name of an image: write name, name:tag or"
            " name@sha256:…, in small letters"
        )
    return text


def image_pattern(text: str) -> str:
    """Likewise, with ``{python}`` in it, if need be."""
    image_name(text.replace(PYTHON, "3.12"))
    return text
