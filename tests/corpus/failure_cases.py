"""What does a file of the corpus of failures hold?

``name: value`` lines, then sections: ``--- quote`` is what is to be quoted, the others are the log
in its order, named by who wrote them; ``open`` behind a name says that its last line has no end.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

from agent.spool import Piece
from schemas.stream import Stream

FOLDER = Path(__file__).parent / "failures"
SECTION = re.compile(rb"^--- (quote|stdout|stderr|build|stoker)( open)?\n", re.MULTILINE)


@dataclass(frozen=True)
class Case:
    name: str
    facts: dict[str, str]
    quote: tuple[str, ...]
    log: Piece

    @property
    def ran(self) -> bool:
        return any(stream in (Stream.STDOUT, Stream.STDERR) for stream, _ in self.log.spans)


def read(path: Path) -> Case:
    parts = SECTION.split(path.read_bytes())
    facts = dict(line.split(": ", 1) for line in parts[0].decode().splitlines())
    quote: tuple[str, ...] = ()
    spans: list[tuple[Stream, int]] = []
    log: list[bytes] = []
    for name, without_end, data in zip(parts[1::3], parts[2::3], parts[3::3], strict=True):
        if name == b"quote":
            quote = tuple(data.decode().splitlines())
            continue
        printed = data[:-1] if without_end else data
        spans.append((Stream[name.decode().upper()], len(printed)))
        log.append(printed)
    return Case(path.stem, facts, quote, Piece(0, 0.0, tuple(spans), b"".join(log)))


def cases() -> list[Case]:
    return [read(path) for path in sorted(FOLDER.glob("*.txt"))]
