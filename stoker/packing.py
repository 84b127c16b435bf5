"""Which files of a folder go into the bundle, and what should a person think about first?"""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

import pathspec

IGNORE_FILES = (".gitignore", ".stokerignore")
"""Read in every folder, in this order: the second may take back what the first ignores."""

NEVER_WANTED = (
    *(".git/", ".hg/", ".svn/", ".venv/", "__pycache__/"),
    *("__MACOSX/", ".DS_Store", "._*", "Thumbs.db", "desktop.ini"),
)
"""Left out unless an ignore file asks for them with ``!``."""

MOST_FILES = 100_000
"""What a server takes; nobody waits for a look at more."""
CHECKPOINTS = (".pt", ".pth", ".ckpt", ".safetensors", ".h5", ".hdf5", ".onnx", ".bin", ".npz")
BIGGEST = 5
"""Files that are named."""
BIG_FILE = 50 << 20
BIG_CHECKPOINT = 5 << 20
BIG_BUNDLE = 500 << 20
"""Bytes from which on a person is asked."""


class PackingError(Exception):
    """The folder cannot become a bundle; the message says what to change."""


@dataclass(frozen=True, slots=True)
class File:
    """One file of the bundle."""

    name: str
    """Its path in the bundle, with slashes."""
    path: Path
    size: int


@dataclass(slots=True)
class Plan:
    """What would be sent, what would not, and what a person should think about first."""

    folder: Path
    files: list[File] = field(default_factory=list)
    skipped: dict[str, str] = field(default_factory=dict)
    """Path to why; a skipped folder stands for all that it holds and ends in a slash."""

    @property
    def size(self) -> int:
        return sum(file.size for file in self.files)

    @property
    def biggest(self) -> list[File]:
        """Those that make the bundle big."""
        named = (one for one in self.files if one.size * 100 >= self.size)
        return sorted(named, key=lambda one: (-one.size, one.name))[:BIGGEST]

    @property
    def warnings(self) -> list[str]:
        found = []
        for file in sorted(self.files, key=lambda one: -one.size):
            suffix = file.path.suffix.lower()
            if suffix in CHECKPOINTS and file.size >= BIG_CHECKPOINT:
                found.append(f"{file.name} looks like a checkpoint ({told_size(file.size)})")
            elif file.size >= BIG_FILE:
                found.append(f"{file.name} is big ({told_size(file.size)})")
        for name in sorted({part for file in self.files for part in heavy_folder(file.name)}):
            found.append(f"{name}/ is part of the bundle")
        if self.size >= BIG_BUNDLE:
            found.append(f"the bundle has {told_size(self.size)}")
        return found


def heavy_folder(name: str) -> tuple[str, ...]:
    top = name.split("/", 1)[0]
    return (top,) if top in (".git", ".venv", "venv", "env", "node_modules") else ()


def told_files(count: int, size: float) -> str:
    """``3 files, 4.2 MiB``"""
    return f"{count:,} file{'' if count == 1 else 's'}, {told_size(size)}"


def told_size(size: float) -> str:
    """``4.2 MiB``"""
    for unit in ("B", "KiB", "MiB", "GiB"):
        if size < 1024 or unit == "GiB":
            return f"{size:.0f} {unit}" if unit == "B" else f"{size:.1f} {unit}"
        size /= 1024
    raise AssertionError("unreachable")


def plan(folder: Path) -> Plan:
    """Looks at every file once; follows no link out of the folder."""
    if not folder.is_dir():
        raise PackingError(f"{folder} is not a folder")
    made = Plan(folder)
    root = folder.resolve()
    rules = Rules.of_root()
    for name, path in wanted(folder, root, "", rules, made.skipped):
        made.files.append(File(checked_name(name), path, path.stat().st_size))
        if len(made.files) > MOST_FILES:
            raise PackingError(
                f"{folder} has more than {MOST_FILES:,} files: pack many small ones into one,"
                " or leave them out (.stokerignore)"
            )
    if not made.files:
        raise PackingError(f"{folder} holds no file to send")
    return made


def without_top(files: Sequence[File]) -> tuple[list[File], str]:
    """Takes off the one folder that holds everything, as it is done with a .zip; its name."""
    tops = {file.name.partition("/")[0] for file in files}
    if len(tops) != 1 or any("/" not in file.name for file in files):
        return list(files), ""
    top = tops.pop()
    return [replace(file, name=file.name.partition("/")[2]) for file in files], top


def checked_name(name: str) -> str:
    try:
        name.encode()
    except UnicodeEncodeError:
        raise PackingError(f"the name {name!r} is not UTF-8: rename the file") from None
    return name


@dataclass(frozen=True, slots=True)
class Rules:
    """The ignore files from the root down to one folder, the nearest last."""

    layers: tuple[tuple[str, pathspec.GitIgnoreSpec, str], ...]
    """Prefix of the folder, what its file says, and how to name it to a person."""

    @classmethod
    def of_root(cls) -> Rules:
        never = pathspec.GitIgnoreSpec.from_lines(NEVER_WANTED)
        return cls((("", never, "never wanted"),))

    def inside(self, folder: Path, prefix: str) -> Rules:
        """With what the ignore files of ``folder`` add."""
        added = []
        for name in IGNORE_FILES:
            file = folder / name
            if file.is_file():
                lines = file.read_text(encoding="utf-8", errors="replace").splitlines()
                added.append((prefix, read_rules(file, lines), f"{prefix}{name}"))
        return Rules((*self.layers, *added))

    def against(self, name: str) -> str | None:
        """Which file ignores ``name`` (a folder's name ends in a slash); None: it is wanted."""
        for prefix, spec, source in reversed(self.layers):
            decided = spec.check_file(name.removeprefix(prefix)).include
            if decided is not None:
                return source if decided else None
        return None

    def asked_for(self, name: str) -> bool:
        """Whether an ignore file takes ``name`` back with ``!``."""
        return any(
            spec.check_file(name.removeprefix(prefix)).include is False
            for prefix, spec, _ in self.layers
        )


def read_rules(file: Path, lines: list[str]) -> pathspec.GitIgnoreSpec:
    try:
        return pathspec.GitIgnoreSpec.from_lines(lines)
    except ValueError as error:
        raise PackingError(f"{file}: {error}") from error


def wanted(
    folder: Path, root: Path, prefix: str, rules: Rules, skipped: dict[str, str]
) -> Iterator[tuple[str, Path]]:
    rules = rules.inside(folder, prefix)
    for entry in sorted(os.scandir(folder), key=lambda one: one.name):
        path = Path(entry.path)
        name = prefix + entry.name
        is_folder = entry.is_dir(follow_symlinks=False)
        shown = f"{name}/" if is_folder else name
        why = rules.against(shown) or unfit(entry, path, root)
        if why is None and is_folder and is_virtual_environment(path):
            why = None if rules.asked_for(shown) else "a virtual environment"
        if why:
            skipped[shown] = why
        elif is_folder:
            yield from wanted(path, root, f"{name}/", rules, skipped)
        else:
            yield name, path


def unfit(entry: os.DirEntry[str], path: Path, root: Path) -> str | None:
    if entry.is_symlink():
        target = path.resolve()
        if not target.is_relative_to(root):
            return "a link out of the folder"
        if not target.is_file():
            return "a link to something else than a file"
        return None
    if not entry.is_dir() and not entry.is_file():
        return "not a plain file"
    return None


def is_virtual_environment(folder: Path) -> bool:
    return (folder / "pyvenv.cfg").is_file() or (folder / "conda-meta").is_dir()
