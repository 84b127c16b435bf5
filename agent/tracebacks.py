"""Where are the tracebacks of Python in a log, and how far does each go?"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass

from agent.log_lines import Line
from agent.quote_rules import (
    CHAINED,
    CLEANUP,
    EXCEPTION,
    FRAME,
    HEADER,
    NOISE,
    TRACEBACKS,
    Kind,
)
from schemas.stream import Stream

MOST = 3000
"""Lines that one may take."""
FOREIGN = 4
"""Lines of somebody else in a row that may lie in it."""
MESSAGE = 4
"""Lines after the exception's that still belong to its message, where nothing else follows."""
GROUP = re.compile(r"^\s*(?:[|+] |\+[-+]|\|)")
GROUP_FRAME = re.compile(r"^\s*\|  +\S|^\s*\| Traceback \(|^\s*\|\s*$")
NO_MESSAGE = re.compile(
    r"^(?:Traceback|Exception |During |The above|Error in |--- |Process \S+:$)"
    r"|\b(?:DEBUG|INFO|WARNING|ERROR|CRITICAL)\b"
)


@dataclass(frozen=True, slots=True)
class Traceback:
    """``first`` and ``last`` are places in the column that it was found in."""

    kind: Kind
    lines: list[Line]
    first: int
    last: int
    end: int
    """The place of the exception's line."""
    before: str
    """The line that announces it."""


def tracebacks(column: list[Line]) -> Iterator[Traceback]:
    index = 0
    while index < len(column):
        header = HEADER.search(column[index].body)
        if header is None:
            index += 1
            continue
        found = group(column, index) if "Group" in header[0] else plain(column, index, header)
        if found is None:
            index += 1
            continue
        yield found
        index = found.last + 1


def plain(column: list[Line], first: int, header: re.Match[str]) -> Traceback | None:
    """None where its end is not there, as in a log that was cut."""
    opening = column[first]
    indent = header.start() if not opening.body[: header.start()].strip() else 0
    lines = [opening]
    end = find_exception(column, first, indent, lines)
    if end is None:
        return None
    announced = before(column, first)
    last = end + (0 if CLEANUP.search(announced) else message_length(column, end, indent))
    lines.extend(column[end : last + 1])
    kind = kind_of([line.body[indent:] for line in column[end : last + 1]])
    return Traceback(kind, lines, first, last, end, announced)


def find_exception(column: list[Line], first: int, indent: int, lines: list[Line]) -> int | None:
    """The place of the exception's line; ``lines`` gets what belongs to the stack before it."""
    foreign: list[Line] = []
    for index in range(first + 1, min(len(column), first + MOST)):
        body = column[index].body
        inner = body[indent:]
        if HEADER.search(body) or CHAINED.search(body):
            return None
        if body[:indent].strip() == "" and inner.startswith((" ", "\t")):
            foreign.clear()
            lines.append(column[index])
        elif EXCEPTION.match(inner) and not goes_on(column, index, indent):
            return index
        else:
            foreign.append(column[index])
            if len(foreign) > FOREIGN:
                return None
    return None


def goes_on(column: list[Line], index: int, indent: int) -> bool:
    """Whether frames follow: then the line before them was somebody else's."""
    following = column[index + 1 : index + 2]
    return any(FRAME.match(line.body[indent:]) for line in following) and not (
        HEADER.search(column[index].body)
    )


def message_length(column: list[Line], end: int, indent: int) -> int:
    """How many lines after the exception's still say what it says."""
    length = 0
    for line in column[end + 1 : end + 1 + MESSAGE + 1]:
        inner = line.body[indent:]
        if over(line, inner) or line.body[:indent].strip():
            return length
        length += 1
    if length > MESSAGE:
        indented = 0
        while (
            column[end + 1 + indented].body[indent:].startswith((" ", "\t")) and indented < MESSAGE
        ):
            indented += 1
        return indented
    return length


def over(line: Line, inner: str) -> bool:
    """Whether a message cannot go on with this line."""
    other = line.stream is Stream.STOKER or NOISE.search(line.body)
    return bool(other or NO_MESSAGE.search(inner))


def group(column: list[Line], first: int) -> Traceback:
    """An exception group: its own line and those of its members, without their stacks."""
    last = first
    while last + 1 < len(column) and GROUP.match(column[last + 1].body):
        last += 1
    lines = [column[first]]
    lines += [line for line in column[first + 1 : last + 1] if not GROUP_FRAME.match(line.body)]
    said = [line.body.lstrip(" |") for line in lines[1:]]
    return Traceback(kind_of(said), lines, first, last, last, before(column, first))


def kind_of(said: list[str]) -> Kind:
    text = "\n".join(said)
    return next(kind for kind in TRACEBACKS if kind.says.search(text))


def before(column: list[Line], first: int) -> str:
    return column[first - 1].body if first else ""
