"""Which names and numbers stand in one line of text? Pure; it knows nothing of steps."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

from schemas.metrics import NAME_LENGTH
from services.metrics.words import BATCHES, EPOCHS, IGNORED, METRICS, QUALIFIERS, SPACED, STEPS

NUMBER = (
    r"[-+]?(?:\d[\d_]*\.?\d*(?:[eE][-+]?\d+)?|\.\d+(?:[eE][-+]?\d+)?"
    r"|[nN][aA][nN]|[iI]nf(?:inity)?|INF)"
)
UNIT = r"(?:ms|us|s|sec|secs|h|min|it/s|s/it|x|B/s|/s)"
PAIR = re.compile(
    r"(?<![\w./])['\"]?(?P<name>[A-Za-z_][\w./@%\-]*)['\"]?\)?(?P<sign>\s{0,4}[=:]\s{0,8}|\s{1,4})"
    r"['\"]?(?:(?:\w{1,8}\.)?(?:tensor|Tensor|array|Array|float\d{0,3}|bfloat16)\()?\[?\s{0,4}"
    rf"(?P<number>{NUMBER})(?:\s?/\s?(?P<of>\d+(?!\.\d)))?(?P<percent>\s?%)?{UNIT}?"
    r"(?![\w]|\.\d|:\d|-\d)"
)
DIGITS = r"[\d_]*\.?\d*(?:[eE][-+]?\d+)?"
POINT = r"\d+(?:[eE][-+]?\d+)?"
TOKEN = re.compile(
    r"[-+.\dnNiI](?<![\w.][-+.\dnNiI])"
    rf"(?:(?<=\d){DIGITS}|(?<=\.){POINT}|(?<=[nN])[aA][nN](?!\w)|(?<=[iI])(?:nf(?:inity)?|NF)(?!\w)"
    rf"|(?<=[-+])(?:\d{DIGITS}|\.{POINT}|(?:[nN][aA][nN]|[iI]nf(?:inity)?|INF)(?!\w)))"
)
"""Every number of a line, in whatever it stands; begun with one class of characters, for speed."""
FIRST = re.compile(r"^\s{0,4}(?:\[\d|\d{1,18}:)")
"""A line that may begin with its step."""
BEHIND = re.compile(r"(?:\]?\s{0,4}\[\s{0,8}|:\s{1,12})(\d+)\s{0,2}/\s{0,2}(\d+)(?!\.?\d)")
"""Behind an epoch: how far in it, as in ``Epoch: [3][ 10/391]``, ``Epoch: 1 [640/60000 (1%)]``."""
WORDS = re.compile(r"[A-Za-z]+(?=\d*)")
PARTS = re.compile(r"[A-Z]?[a-z]+|[A-Z]+(?![a-z])|\d+")
DEEP = 3
"""Levels of a JSON object."""
MOST_PAIRS = 1000
"""Of one line."""
MOST_INTEGER = 1 << 63


@dataclass(frozen=True, slots=True)
class Pair:
    """One name and its number."""

    name: str
    value: float
    whole: bool
    """Written without a point."""
    of: int | None = None
    """The number behind a slash."""


@dataclass(frozen=True, slots=True)
class Found:
    """What stands in one line."""

    pairs: list[Pair]
    position: tuple[int, int] | None = None
    """How far in its epoch, of how much."""


def read_text(text: str) -> Found:
    """Lines of one shape, of which only the numbers differ, are looked at once."""
    if len(text) > LONGEST_SHAPE or "/" in text:
        return read_slowly(text)[0]
    shape = TOKEN.sub("\0", text)
    plan = SHAPES.get(shape)
    if plan is None:
        plan = plan_of(text)
        if len(SHAPES) >= MOST_SHAPES:
            SHAPES.clear()
        SHAPES[shape] = plan
    if plan.slow:
        return read_slowly(text)[0]
    if not plan.slots:
        return NOTHING
    tokens = TOKEN.findall(text)
    return Found([pair_of(name, tokens[index]) for name, index in plan.slots])


@dataclass(frozen=True, slots=True)
class Plan:
    """What a shape of lines says."""

    slots: tuple[tuple[str, int], ...] = ()
    """Names, each with the number of its token."""
    slow: bool = False
    """The numbers themselves change what it says."""


SHAPES: dict[str, Plan] = {}
MOST_SHAPES = 4096
LONGEST_SHAPE = 1000
NOTHING = Found([])


def plan_of(text: str) -> Plan:
    found, spans = read_slowly(text)
    tokens = [match.span() for match in TOKEN.finditer(text)]
    places = {span: number for number, span in enumerate(tokens)}
    names = [(start, end) for start, end, _ in spans]
    inside = any(a < end and start < b for a, b in tokens for start, end in names)
    if found.position or inside or any(span not in places for _, _, span in spans):
        return Plan(slow=True)
    if not FIRST.match(text) and not any(map(telling, found.pairs)):
        return Plan()
    slots = zip(found.pairs, spans, strict=True)
    return Plan(tuple((pair.name, places[span]) for pair, (_, _, span) in slots))


def telling(pair: Pair) -> bool:
    """Whether a line counts because of it."""
    return is_step_word(pair.name.lower()) or is_metric(pair.name)


def is_step_word(word: str) -> bool:
    return word in STEPS or word in EPOCHS or word in BATCHES


def pair_of(name: str, text: str) -> Pair:
    return Pair(name, number(text), text.isdigit() or (text[1:].isdigit() and text[0] in "+-"))


Spans = list[tuple[int, int, tuple[int, int]]]
"""Of each pair: where its name and what belongs to it begins and ends, and where its number is."""


def read_slowly(text: str) -> tuple[Found, Spans]:
    found: list[Pair] = []
    spans: Spans = []
    position = None
    before = 0
    for match in PAIR.finditer(text):
        name = match["name"]
        word = name.lower()
        if not (match["sign"].strip() or spaced(word)):
            continue
        start, begun, before = match.start("name"), before, match.end()
        if word in IGNORED or len(found) >= MOST_PAIRS:
            continue
        pair = pair_of(name, match["number"])
        if is_step_word(word):
            of = int(match["of"][:18]) if match["of"] else None
            pair = Pair(name[:NAME_LENGTH], pair.value, pair.whole, of)
            if word in EPOCHS and (behind := BEHIND.match(text, match.end())):
                position = (int(behind[1][:18]), int(behind[2][:18]))
        else:
            name = qualified(text[begun:start], name)[:NAME_LENGTH]
            pair = ratio(name, pair.value, match["of"]) if match["of"] else renamed(pair, name)
        found.append(pair)
        begin = start - max(0, len(name) - len(match["name"]))
        spans.append((begin, match.end("name"), match.span("number")))
    return Found(found, position), spans


def renamed(pair: Pair, name: str) -> Pair:
    return Pair(name, pair.value, pair.whole, pair.of)


def ratio(name: str, value: float, of: str) -> Pair:
    """``Accuracy: 9810/10000``."""
    whole = float(of)
    return Pair(name, value / whole if whole else math.nan, False)


def number(text: str) -> float:
    """Never raises for what ``NUMBER`` matches: too large is infinite."""
    return float(text.replace("_", ""))


def qualified(before: str, name: str) -> str:
    """With at most two words before it that belong to it."""
    words = before[-40:].rstrip("'\"").split(" ")
    if words and words[-1] == "":
        words.pop()
    taken: list[str] = []
    while words and len(taken) < 2 and words[-1].strip("('\"").lower() in QUALIFIERS:
        taken.insert(0, words.pop().strip("('\""))
    return " ".join([*taken, name])


@lru_cache(maxsize=4096)
def spaced(word: str) -> bool:
    joined = any(sign in word for sign in "_@/")
    return word in SPACED or (joined and bool(parts(word) & SPACED))


@lru_cache(maxsize=16384)
def is_metric(name: str) -> bool:
    return bool(parts(name) & METRICS)


def parts(name: str) -> frozenset[str]:
    """Its words, without digits: ``train/top1_acc`` has ``train``, ``top`` and ``acc``."""
    return (
        frozenset(part.lower() for part in PARTS.findall(name))
        | frozenset(word.lower() for word in WORDS.findall(name))
        | {name.lower()}
    )


def read_json(text: str) -> Found | None:
    """None where it is no JSON object."""
    try:
        value = json.loads(text)
    except (ValueError, RecursionError):
        return None
    if not isinstance(value, dict):
        return None
    return Found(list(flat(value, "", DEEP))[:MOST_PAIRS])


def flat(values: dict[str, Any], prefix: str, deep: int) -> Iterator[Pair]:
    for key, value in values.items():
        name = f"{prefix}{key}"
        if isinstance(value, dict):
            if deep > 1:
                yield from flat(value, f"{name}/", deep - 1)
        elif name and name.lower() not in IGNORED and (read := json_number(value)) is not None:
            yield Pair(name[:NAME_LENGTH], *read)


NUMBER_ALONE = re.compile(rf"\s*{NUMBER}\s*")


def json_number(value: object) -> tuple[float, bool] | None:
    """And whether it was written without a point."""
    if isinstance(value, bool):
        return None
    if isinstance(value, int):
        return (float(value) if abs(value) < MOST_INTEGER else math.inf), True
    if isinstance(value, float):
        return value, False
    if isinstance(value, str) and len(value) < 40 and NUMBER_ALONE.fullmatch(value):
        return number(value.strip()), value.strip().lstrip("+-").isdigit()
    return None
