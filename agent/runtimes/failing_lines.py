"""Which line of what a build printed says why it failed? Of pip, apt, uv, conda. Pure."""

from __future__ import annotations

import re
from dataclasses import dataclass

COLOUR = re.compile(r"\x1b\[[0-9;]*[A-Za-z]")
BUILDKIT = re.compile(r"^#\d+ (?:\d+\.\d+ )?")
"""In front of each line where BuildKit prints plainly."""
STEP = re.compile(r"^(?:Step \d+/\d+ : |#\d+ \[)")
"""Of a Dockerfile: what failed before it did not matter."""
LONGEST_LINE = 64 << 10
"""Bytes of a line without an end that are remembered."""
LONGEST = 500
"""Characters of a reason."""
VAGUE = (
    "ResolutionImpossible",
    "pip's dependency resolver does not",
    "subprocess-exited-with-error",
    "metadata-generation-failed",
    "failed-wheel-build-for-install",
    "Unable to fetch some archives",
    "Sub-process /usr/bin/dpkg",
    "libmamba Could not solve",
    "did not complete successfully",
)
"""They point at another line, which is better where there is one."""


@dataclass(frozen=True, slots=True)
class Sign:
    """How one program begins the line that says why it gives up."""

    program: str
    line: re.Pattern[str]
    first: bool = False
    """Whether the first of several lines says most; else the last."""


SIGNS = (
    Sign("pip", re.compile(r"^(?:ERROR:|\u00d7 ) *(?P<why>\S.*)")),
    Sign("apt", re.compile(r"^(?:E: |dpkg: error )(?P<why>\S.*)"), first=True),
    Sign("mamba", re.compile(r"^(?:error|critical)\s+(?P<why>libmamba .*)"), first=True),
    Sign("conda", re.compile(r"^(?P<why>[A-Z]\w+(?:Error|NotFound|Failed): ?.*)"), first=True),
    Sign("uv", re.compile(r"^(?:error|fatal): *(?P<why>\S.*)")),
)
CAUSE = re.compile(r"^(?:Caused by|cause): ")
MORE = re.compile(r"^(?:(?:Caused by|cause): |[└├╰]─[>▶]? ?(?!\[))(?P<why>\S.*)")
"""Goes with the line before."""
JOINED_LINES = 6
"""So far behind a reason its continuation may stand."""


class FailingLines:
    """Reads what a build prints, cut anywhere; ``reason`` is empty where nothing says why."""

    def __init__(self) -> None:
        self.reason = ""
        self._rest = b""
        self._program = ""
        self._vague = True
        self._since = 0
        """Lines since the reason."""
        self._joined = True

    def take(self, data: bytes) -> None:
        *lines, self._rest = (self._rest + data).split(b"\n")
        self._rest = self._rest[-LONGEST_LINE:]
        for line in lines:
            self.hear(line.decode("utf-8", "replace"))

    def end(self) -> str:
        """The reason, a last line without an end included."""
        self.take(b"\n")
        return self.reason

    def hear(self, line: str) -> None:
        """One line."""
        text = COLOUR.sub("", line).rpartition("\r")[2]
        if STEP.match(text):
            self.reason, self._vague = "", True
            return
        text = BUILDKIT.sub("", text).strip()
        if not text:
            return
        self._since += 1
        if self._continues(text):
            return
        for sign in SIGNS:
            if found := sign.line.match(text):
                self._found(sign, found["why"].strip())
                return

    def _found(self, sign: Sign, why: str) -> None:
        vague = any(words in why for words in VAGUE)
        if self.reason and vague and not self._vague:
            return
        same = sign.program == self._program and not self._vague
        if same and sign.first:
            return
        self._program, self._vague = sign.program, vague
        self.reason, self._since, self._joined = why[:LONGEST], 0, False

    def _continues(self, text: str) -> bool:
        """Whether the line goes with the reason, and belongs to it now."""
        if not self.reason or self._joined or self._since > JOINED_LINES:
            return False
        more = MORE.match(text)
        if more is None and not (self.reason.endswith(":") and self._since == 1):
            return False
        why = more["why"] if more else text.removeprefix("- ")
        self.reason = f"{self.reason.rstrip(':.')}: {why.strip()}"[:LONGEST]
        self._vague = False
        # uv gives a chain of causes; a tree of conda's says it all in its first line.
        self._joined = not CAUSE.match(text)
        return True
