"""What does a bundle say about the environment that it wants? Reads its files, runs nothing."""

from __future__ import annotations

import re
import tomllib
from dataclasses import dataclass
from pathlib import Path

DOCKERFILE = "Dockerfile"
UV_LOCK = "uv.lock"
REQUIREMENTS = "requirements.txt"
CONDA = "environment.yml"
CONDA_NAMES = (CONDA, "environment.yaml")
PYPROJECT = "pyproject.toml"
PLAIN = "python"

INCLUDE = re.compile(r"^(?:-r|-c|--requirement|--constraint)(?:\s+|=)?(\S+)")
LOCAL = re.compile(
    r"^(?:\.{1,2}(?:/|$)|/|file:|-e\b|--editable\b|(?:-f|--find-links)[\s=]+(?!https?:))"
)
LOCAL_IN_CONDA = re.compile(
    r"^\s*-\s*['\"]?(?:-[rce]\b|--(?:requirement|constraint|editable)\b|file:|\.{0,2}/|\.['\"]?\s*$)"
)
"""In the ``pip:`` part of an environment.yml: what names other files of the bundle."""
IN_THE_BUNDLE = ("editable", "virtual", "directory", "path")
"""Kinds of sources of a uv.lock that are no downloads."""
DEEPEST = 10
"""Requirements that include requirements: no deeper than this."""


class CannotRead(ValueError):
    """One sentence about a file of the bundle that says what to change."""


@dataclass(frozen=True, slots=True)
class Choice:
    """How the environment is made, and what is needed of the bundle for it."""

    source: str
    """``Dockerfile``, ``uv.lock``, ``requirements.txt``, ``environment.yml``, ``pyproject.toml`` or
    ``python``."""
    because: str
    """Half a sentence for the job's log."""
    files: dict[str, bytes]
    """Path to content: all that goes into the environment, and into its key."""
    whole: bool = False
    """The files name others of the bundle: the environment is made from the whole of it."""


def choose(bundle: Path, *, dockerfile: bool = True) -> Choice:
    """A ``Dockerfile`` wins (where the runtime can use one), then what says most exactly what to
    install.

    Raises ``CannotRead``.
    """
    if dockerfile and (bundle / DOCKERFILE).is_file():
        return Choice(DOCKERFILE, "the bundle has a Dockerfile", {}, whole=True)
    for read in (locked, required, by_conda, of_project):
        choice = read(bundle)
        if choice is not None:
            return choice
    return Choice(PLAIN, "the bundle asks for no packages", {})


def locked(bundle: Path) -> Choice | None:
    if not (bundle / UV_LOCK).is_file():
        return None
    if not (bundle / PYPROJECT).is_file():
        raise CannotRead("the bundle has a uv.lock without its pyproject.toml: send both")
    files = {name: (bundle / name).read_bytes() for name in (UV_LOCK, PYPROJECT)}
    sources = lock_sources(files[UV_LOCK])
    own = [path for source in sources if (path := path_of(source)) is not None]
    outside = [path for path in own if path.startswith("/") or ".." in Path(path).parts]
    if outside:
        raise CannotRead(f"uv.lock names {outside[0]}, which is outside of the bundle")
    if len(own) == len(sources) and all(path == "." for path in own):
        return None  # the project alone, which needs nothing
    whole = any(path != "." for path in own)
    return Choice(UV_LOCK, because(bundle, UV_LOCK, "a"), files, whole)


def lock_sources(data: bytes) -> list[dict[str, object]]:
    """Where each package of a uv.lock comes from."""
    try:
        packages = tomllib.loads(data.decode()).get("package", [])
        return [dict(package["source"]) for package in packages]
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise CannotRead(f"uv.lock cannot be read: {error}") from error


def path_of(source: dict[str, object]) -> str | None:
    """In the bundle; None for what is downloaded."""
    for kind in IN_THE_BUNDLE:
        if kind in source:
            return str(source[kind])
    index = str(source.get("registry", "://"))
    return None if "://" in index else index


def required(bundle: Path) -> Choice | None:
    if not (bundle / REQUIREMENTS).is_file():
        return None
    files: dict[str, bytes] = {}
    whole = collect(bundle, REQUIREMENTS, files, 0)
    return Choice(REQUIREMENTS, because(bundle, REQUIREMENTS, "a"), files, whole)


def by_conda(bundle: Path) -> Choice | None:
    """Its lines are not understood here, but for those that name other files."""
    for name in CONDA_NAMES:
        if (bundle / name).is_file():
            data = (bundle / name).read_bytes()
            whole = any(LOCAL_IN_CONDA.match(line) for line in text_of(name, data).splitlines())
            return Choice(CONDA, because(bundle, name, "an"), {CONDA: data}, whole)
    return None


def of_project(bundle: Path) -> Choice | None:
    if not (bundle / PYPROJECT).is_file():
        return None
    needed = project_dependencies((bundle / PYPROJECT).read_bytes())
    if not needed:
        return None
    text = "".join(f"{line}\n" for line in needed)
    because = "the bundle has a pyproject.toml with dependencies"
    return Choice(PYPROJECT, because, {REQUIREMENTS: text.encode()})


def because(bundle: Path, chosen: str, article: str) -> str:
    """Names what is there and not used, too: two lists may tell two things."""
    others = [
        name
        for name in (REQUIREMENTS, *CONDA_NAMES)
        if name != chosen and (bundle / name).is_file()
    ]
    unused = f"; its {' and '.join(others)} {plural(others)} not used" if others else ""
    return f"the bundle has {article} {chosen}{unused}"


def plural(names: list[str]) -> str:
    return "are" if len(names) > 1 else "is"


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
    lines = (line.strip() for line in text_of(name, data).replace("\\\n", " ").splitlines())
    return [line for line in lines if line and not line.startswith("#")]


def text_of(name: str, data: bytes) -> str:
    try:
        return data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise CannotRead(f"{name} is not UTF-8 text; save it as UTF-8") from error


def project_dependencies(data: bytes) -> tuple[str, ...]:
    """Of ``[project]``; empty for a file that only configures tools."""
    try:
        project = tomllib.loads(data.decode()).get("project", {})
        return tuple(str(line) for line in project.get("dependencies", ()))
    except (ValueError, AttributeError, TypeError) as error:
        raise CannotRead(f"pyproject.toml cannot be read: {error}") from error
