"""What does a bundle say about the environment that it wants? Reads its files, runs nothing."""

from __future__ import annotations

import re
import tomllib
from dataclasses import dataclass
from pathlib import Path

DOCKERFILE = "Dockerfile"
REQUIREMENTS = "requirements.txt"
PYPROJECT = "pyproject.toml"
PLAIN = "python"

INCLUDE = re.compile(r"^(?:-r|-c|--requirement|--constraint)(?:\s+|=)?(\S+)")
LOCAL = re.compile(
    r"^(?:\.{1,2}(?:/|$)|/|file:|-e\b|--editable\b|(?:-f|--find-links)[\s=]+(?!https?:))"
)
DEEPEST = 10
"""Requirements that include requirements: no deeper than this."""


class CannotRead(ValueError):
    """One sentence about a file of the bundle that says what to change."""


@dataclass(frozen=True, slots=True)
class Choice:
    """How the environment is made, and what is needed of the bundle for it."""

    source: str
    """``Dockerfile``, ``requirements.txt``, ``pyproject.toml`` or ``python``."""
    because: str
    """Half a sentence for the job's log."""
    files: dict[str, bytes]
    """Path to content: all that goes into the environment, and into its key."""
    whole: bool = False
    """The files name others of the bundle: the environment is made from the whole of it."""


def choose(bundle: Path, *, dockerfile: bool = True) -> Choice:
    """A ``Dockerfile`` wins (where the runtime can use one), then requirements, then the project.

    Raises ``CannotRead``.
    """
    if dockerfile and (bundle / DOCKERFILE).is_file():
        return Choice(DOCKERFILE, "the bundle has a Dockerfile", {}, whole=True)
    if (bundle / REQUIREMENTS).is_file():
        files: dict[str, bytes] = {}
        whole = collect(bundle, REQUIREMENTS, files, 0)
        return Choice(REQUIREMENTS, "the bundle has a requirements.txt", files, whole)
    if (bundle / PYPROJECT).is_file():
        needed = project_dependencies((bundle / PYPROJECT).read_bytes())
        if needed:
            text = "".join(f"{line}\n" for line in needed)
            because = "the bundle has a pyproject.toml with dependencies"
            return Choice(PYPROJECT, because, {REQUIREMENTS: text.encode()})
    return Choice(PLAIN, "the bundle asks for no packages", {})


def collect(bundle: Path, name: str, files: dict[str, bytes], depth: int) -> bool:
    """Adds a requirements file and those it includes; True where one names local code."""
    path = bundle / name
    if depth > DEEPEST:
        raise CannotRead(f"{name}: requirements include each other more than {DEEPEST} deep")
    if not path.resolve().is_relative_to(bundle.resolve()) or not path.is_file():
        raise CannotRead(f"{name} is named in the requirements, but is not in the bundle")
    data = files[name] = path.read_bytes()
    whole = False
    for line in requirement_lines(name, data):
        include = INCLUDE.match(line)
        if include:
            inner = (Path(name).parent / include[1]).as_posix()
            if "://" not in include[1] and inner not in files:
                whole |= collect(bundle, inner, files, depth + 1)
        elif LOCAL.match(line):
            whole = True
    return whole


def requirement_lines(name: str, data: bytes) -> list[str]:
    try:
        text = data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise CannotRead(f"{name} is not UTF-8 text; save it as UTF-8") from error
    lines = (line.strip() for line in text.replace("\\\n", " ").splitlines())
    return [line for line in lines if line and not line.startswith("#")]


def project_dependencies(data: bytes) -> tuple[str, ...]:
    """Of ``[project]``; empty for a file that only configures tools."""
    try:
        project = tomllib.loads(data.decode()).get("project", {})
        return tuple(str(line) for line in project.get("dependencies", ()))
    except (ValueError, AttributeError, TypeError) as error:
        raise CannotRead(f"pyproject.toml cannot be read: {error}") from error
