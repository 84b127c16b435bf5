"""Which lines of an attempt's log say why it failed?"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from agent.log_lines import Line, last_part, lines_of
from agent.quote_rules import (
    CARETS,
    CLEANUP,
    FULL,
    HANDLED,
    LAST_LINES,
    NOISE,
    STEP,
    Extent,
    Pick,
    Rule,
)
from agent.quote_table_build import BUILD_RULES
from agent.quote_table_program import PROGRAM_RULES
from agent.spool import Piece
from agent.tracebacks import Traceback, tracebacks
from schemas.job import AttemptEnd, Quote
from schemas.reason import Reason
from schemas.stream import Stream

RULES = PROGRAM_RULES + BUILD_RULES
LOOKED_AT = 3000
"""Lines."""
MOST_LINES = 12
MOST_BYTES = 2048
LINE_CHARACTERS = 400
LAST = 5
"""Lines that are quoted where no rule fits."""
NEAR = 20
"""Lines of both streams after which the last line of standard error says nothing any more."""
ENDED_FROM_OUTSIDE = frozenset({Reason.OOM, Reason.TIMEOUT, Reason.IDLE_TIMEOUT})
"""What they end knows nothing of it: only its very last lines may have to do with it."""
OUTSIDE_REACH = 3
QUOTED = ENDED_FROM_OUTSIDE | {
    Reason.EXIT,
    Reason.BUILD_FAILED,
    Reason.IMAGE_UNAVAILABLE,
    Reason.DISK_FULL,
}
"""The others say nothing of what the program printed."""
CUT = "…"
TRACEBACK_REACH = 30
HANDLED_PRIORITY = 30
"""That of a logged error: the later one goes first."""
CLEANUP_PRIORITY = 5
SURE = 100
"""What is added where the reason itself says that a rule is right."""


@dataclass(frozen=True, slots=True)
class Found:
    """Lines that a rule would quote."""

    rule: str
    priority: int
    lines: Sequence[Line]
    head: int = 1
    after: int = 0
    """Lines of its stream that follow."""


def quote_of(tail: Piece, end: AttemptEnd, *, ran: bool) -> Quote | None:
    """``ran``: whether the program had been started; otherwise its build is looked at."""
    if end.succeeded or end.reason not in QUOTED:
        return None
    mine = (Stream.STDOUT, Stream.STDERR) if ran else (Stream.BUILD, Stream.STOKER)
    lines = [line for line in lines_of(last_part(tail, LOOKED_AT)) if line.stream in mine]
    found = best(lines, end.reason) or last_lines(lines, ran)
    return render(found) if found else None


def best(lines: list[Line], reason: Reason) -> Found | None:
    outside = reason in ENDED_FROM_OUTSIDE
    chosen: Found | None = None
    for column in columns(lines):
        for found in candidates(column, reason):
            if outside and found.after > OUTSIDE_REACH:
                continue
            if chosen is None or place(found) > place(chosen):
                chosen = found
    return chosen


def place(found: Found) -> tuple[int, int]:
    """Of several processes the first that failed, of one its last words."""
    first = found.lines[0]
    return found.priority, -first.start if first.source else first.start


def columns(lines: list[Line]) -> Iterator[list[Line]]:
    """Each writer by itself. Stoker's words are part of the build that they are about."""
    split: defaultdict[tuple[Stream, str], list[Line]] = defaultdict(list)
    for line in lines:
        stream = Stream.BUILD if line.stream is Stream.STOKER else line.stream
        if stream is Stream.BUILD and STEP.search(line.body):
            split.clear()  # what was before went well
        split[stream, line.source].append(line)
    yield from split.values()


def candidates(column: list[Line], reason: Reason) -> Iterator[Found]:
    stream = Stream.BUILD if column[0].stream is Stream.STOKER else column[0].stream
    found = list(tracebacks(column))
    taken = {at for one in found for at in range(one.first, one.last + 1)}
    left = remaining(column, found)
    for one in found:
        priority = priority_of(one, left[one.end], reason)
        if priority is not None:
            yield Found(one.kind.name, priority, one.lines, 1, left[one.end])
    for rule in RULES:
        if stream.value not in rule.streams:
            continue
        for lines, after in matches(rule, column, left, taken):
            sure = SURE if reason in rule.sure else 0
            yield Found(rule.name, rule.priority + sure, lines, rule.head, after)
            if rule.pick is Pick.FIRST:
                break


def priority_of(one: Traceback, after: int, reason: Reason) -> int | None:
    """None where what follows shows that it ended nothing."""
    if after > TRACEBACK_REACH:
        return None
    if CLEANUP.search(one.before):
        return None if after else CLEANUP_PRIORITY
    if HANDLED.search(one.before) and after:
        return min(one.kind.priority, HANDLED_PRIORITY)
    return one.kind.priority + (SURE if one.kind.name == "disk-full" and reason in FULL else 0)


def matches(
    rule: Rule, column: list[Line], left: list[int], taken: set[int]
) -> Iterator[tuple[list[Line], int]]:
    """Lines that it would quote, and how many follow."""
    for index, line in enumerate(column):
        if index in taken and rule.extent is Extent.UNTIL:
            continue
        if not rule.start.search(line.body) or rule.unless.search(line.body):
            continue
        last = extent_of(rule, column, index)
        if last is not None and left[last] <= rule.reach:
            quoted = column[index : last + 1]
            if rule.extent is Extent.REST:
                quoted = [one for one in quoted if not NOISE.search(one.body)]
            yield quoted, left[last]


def extent_of(rule: Rule, column: list[Line], index: int) -> int | None:
    """Where the quote that begins at ``index`` ends."""
    most = min(len(column), index + rule.most)
    if rule.extent is Extent.REST:
        return most - 1
    if rule.extent is Extent.UNTIL:
        return next(
            (at for at in range(index + 1, most) if rule.until.search(column[at].body)), None
        )
    last = index
    while last + 1 < most and rule.also.search(column[last + 1].body):
        last += 1
    while last > index and not column[last].body:
        last -= 1
    return last


def remaining(column: list[Line], found: list[Traceback]) -> list[int]:
    """For each line, how many follow it that say something; those of a clean-up do not."""
    cleanups = [one for one in found if CLEANUP.search(one.before)]
    silent = {at for one in cleanups for at in range(one.first - 1, one.last + 1)}
    left = [0] * len(column)
    count = 0
    for index in range(len(column) - 1, -1, -1):
        left[index] = count
        count += index not in silent and not NOISE.search(column[index].body)
    return left


def last_lines(lines: list[Line], ran: bool) -> Found | None:
    """Of standard error, unless it ended long before standard output did."""
    said = [line for line in lines if not NOISE.search(line.body)]
    handled = {
        line.start for column in columns(lines) for one in tracebacks(column) for line in one.lines
    }
    said = [line for line in said if line.start not in handled] or said
    if not said:
        return None
    if not ran:
        built = [line for line in said if line.stream is Stream.BUILD]
        return Found(LAST_LINES, 0, built[-LAST:]) if built else None
    errors = [line for line in said if line.stream is Stream.STDERR]
    near = errors and errors[-1] in said[-NEAR:]
    wanted = errors if near else [line for line in said if line.stream is Stream.STDOUT]
    return Found(LAST_LINES, 0, (wanted or said)[-LAST:])


def render(found: Found) -> Quote:
    return Quote(
        lines=tuple(shorten([line.text for line in found.lines], found.head)),
        rule=found.rule,
        start=found.lines[0].start,
        end=max(line.end for line in found.lines),
    )


def shorten(lines: list[str], head: int) -> list[str]:
    """Within the bounds: carets go first, then the middle; the last line stays."""
    shown = [line for line in lines if line]
    if len(shown) > MOST_LINES:
        shown = [line for line in shown if not CARETS.match(line)]
    shown = [clipped(line) for line in shown]
    whole = len(shown)
    while len(shown) > MOST_LINES - (len(shown) < whole) or size(shown) > MOST_BYTES - 4:
        del shown[min(head, len(shown) - 2)]
    if len(shown) < whole:
        shown.insert(min(head, len(shown) - 1), CUT)
    return shown


def size(lines: list[str]) -> int:
    return sum(len(line.encode()) + 1 for line in lines)


def clipped(line: str) -> str:
    return line if len(line) <= LINE_CHARACTERS else line[: LINE_CHARACTERS - 1] + CUT
