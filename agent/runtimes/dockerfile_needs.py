"""What of a bundle does its Dockerfile need? Only where that can be told for certain. Pure."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from pathlib import PurePosixPath

DIRECTIVE = re.compile(r"^#\s*(?:escape|syntax)\s*=", re.IGNORECASE)
FLAG = re.compile(r"^--([a-z]+)=(\S+)\s*")
BASE = re.compile(r"^\$(?:BASE|\{BASE\})$")
REMOTE = re.compile(r"^(?:https?://|git@|git://)")
HARMLESS = frozenset({"chown", "chmod"})
ODD = re.compile(r"[\[\]\\$\"']|^~")
"""In a path: what the builder reads in ways of its own."""


class CannotTell(Exception):
    """All of the bundle counts."""


@dataclass
class Needs:
    """What goes into an image beside the Dockerfile."""

    images: set[str] = field(default_factory=set)
    """Whatever a stage is built from; ``BASE`` for the one that Stoker gives."""
    sources: set[str] = field(default_factory=set)
    """Paths in the bundle, with ``*`` and ``?``, as ``COPY`` and ``ADD`` name them."""
    stages: set[str] = field(default_factory=set)
    count: int = 0


def needs_of(text: str) -> Needs | None:
    """None where it cannot be told."""
    needs = Needs()
    try:
        for name, rest in instructions(text):
            read(needs, name, rest)
    except CannotTell:
        return None
    return needs if needs.count else None


def instructions(text: str) -> Iterator[tuple[str, str]]:
    """Each with its lines joined."""
    held = ""
    for line in text.splitlines():
        stripped = line.strip()
        if DIRECTIVE.match(stripped):
            raise CannotTell
        if not stripped or stripped.startswith("#"):
            continue
        if stripped.endswith("\\"):
            held += f"{stripped[:-1]} "
            continue
        yield split(held + stripped)
        held = ""
    if held.strip():
        yield split(held.strip())


def split(instruction: str) -> tuple[str, str]:
    name, _, rest = instruction.partition(" ")
    if "\t" in name:
        raise CannotTell
    return name.upper(), rest.strip()


def read(needs: Needs, name: str, rest: str) -> None:
    match name:
        case "FROM":
            read_from(needs, rest)
        case "COPY" | "ADD":
            read_copy(needs, rest)
        case "ONBUILD":
            raise CannotTell
        case "RUN" if "<<" in rest or rest.startswith("--"):
            raise CannotTell


def read_from(needs: Needs, rest: str) -> None:
    words = rest.split()
    if not words or words[0].startswith("--"):
        raise CannotTell
    image = "BASE" if BASE.match(words[0]) else words[0]
    if "$" in image:
        raise CannotTell
    if image.lower() not in needs.stages and image != "scratch":
        needs.images.add(image)
    needs.count += 1
    if len(words) == 3 and words[1].upper() == "AS":
        needs.stages.add(words[2].lower())


def read_copy(needs: Needs, rest: str) -> None:
    while flag := FLAG.match(rest):
        rest = rest[flag.end() :]
        if flag[1] == "from":
            if flag[2].lower() not in needs.stages and not flag[2].isdigit():
                raise CannotTell
            return
        if flag[1] not in HARMLESS:
            raise CannotTell
    if rest.startswith("--") or "<<" in rest:
        raise CannotTell
    paths = words_of(rest)
    if len(paths) < 2:
        raise CannotTell
    needs.sources |= {source(path) for path in paths[:-1] if not REMOTE.match(path)}


def words_of(rest: str) -> list[str]:
    if not rest.startswith("["):
        return rest.split()
    try:
        words = json.loads(rest)
    except ValueError as error:
        raise CannotTell from error
    return [str(word) for word in words]


def source(path: str) -> str:
    """From the top of the bundle."""
    parts = [part for part in path.split("/") if part not in ("", ".")]
    if not parts or ".." in parts or ODD.search(path):
        raise CannotTell
    return "/".join(parts)


def chosen(paths: Iterable[str], sources: Iterable[str]) -> dict[str, list[str]]:
    """For each source the paths that it names, and all that lies below them."""
    patterns = {one: PurePosixPath(one).parts for one in sources}
    found: dict[str, list[str]] = {one: [] for one in patterns}
    for path in paths:
        parts = PurePosixPath(path).parts
        for one, pattern in patterns.items():
            if len(parts) >= len(pattern) and all(map(fnmatchcase, parts, pattern)):
                found[one].append(path)
    return found
