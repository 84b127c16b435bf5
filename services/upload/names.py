"""Which names may a bundle's files have? Bad ones are refused, never cleaned."""

from __future__ import annotations

import stat
import unicodedata
from collections.abc import Iterable
from dataclasses import dataclass

from services.upload.refusals import BadBundle
from services.upload.zipdir import Entry, show

LONGEST_PATH = 1024
"""Bytes."""
LONGEST_PART = 255
DEEPEST = 40
DROPPED = ("__MACOSX",)
DROPPED_FILES = (".DS_Store", "Thumbs.db", "desktop.ini")


@dataclass(frozen=True, slots=True)
class Member:
    """One file of a bundle."""

    path: str
    entry: Entry
    executable: bool
    folder: bool = False


def members(entries: list[Entry]) -> tuple[list[Member], list[str]]:
    """The bundle's files, sorted, without a single top folder; and notes on what was dropped."""
    found = [read_member(entry) for entry in entries]
    check_collisions((member.path, member.folder) for member in found)
    files = [member for member in found if not member.folder]
    kept = [member for member in files if not clutter(member.path)]
    notes = []
    if len(kept) < len(files):
        notes.append(f"left out {len(files) - len(kept)} files of the operating system's")
    kept, top = strip_top(kept)
    if top:
        notes.append(f"the folder {top}/ around everything was taken off")
    return sorted(kept, key=lambda member: member.path), notes


def read_member(entry: Entry) -> Member:
    path = decode(entry)
    folder = path.endswith("/")
    kind = stat.S_IFMT(entry.mode)
    if kind == stat.S_IFLNK:
        raise BadBundle("link", f"{show(entry.name)} is a link; put the file itself into the zip")
    if kind not in (0, stat.S_IFREG, stat.S_IFDIR) or (kind == stat.S_IFDIR) > folder:
        raise BadBundle("special_file", f"{show(entry.name)} is not a regular file")
    if folder and (kind == stat.S_IFREG or entry.size or entry.packed > 2):
        raise BadBundle("special_file", f"{show(entry.name)} is a folder with contents of its own")
    path = path.removesuffix("/")
    check_path(path, show(entry.name))
    return Member(path, entry, bool(entry.mode & 0o111), folder)


def decode(entry: Entry) -> str:
    try:
        return entry.name.decode("utf-8" if entry.utf8 or not entry.name.isascii() else "ascii")
    except UnicodeDecodeError:
        pass
    if entry.utf8:
        raise BadBundle("bad_name", f"the name {show(entry.name)} is not UTF-8")
    return entry.name.decode("cp437")


def check_path(path: str, shown: str) -> None:
    """Raises ``BadBundle``, with the name as it may be shown."""
    parts = path.split("/")
    if path.startswith("/") or (len(path) > 1 and path[1] == ":"):
        raise BadBundle("absolute_path", f"{shown} is an absolute path; zip the folder from inside")
    if ".." in parts:
        raise BadBundle("path_outside", f"{shown} leads out of the bundle")
    if "\\" in path:
        raise BadBundle("bad_name", f"{shown} has a backslash in its name; use / between folders")
    if any(part in ("", ".") or len(part.encode()) > LONGEST_PART for part in parts):
        raise BadBundle("bad_name", f"{shown} is not a proper path")
    if any(part != part.rstrip(". ") for part in parts):
        raise BadBundle("bad_name", f"{shown} has a name that ends with a space or a dot")
    if any(unicodedata.category(c) in ("Cc", "Cs") for c in path):
        raise BadBundle("bad_name", f"{shown} has a character in its name that is not allowed")
    if len(path.encode()) > LONGEST_PATH or len(parts) > DEEPEST:
        raise BadBundle("bad_name", f"{shown} is too long or too deep")


def clutter(path: str) -> bool:
    parts = path.split("/")
    return parts[0] in DROPPED or parts[-1] in DROPPED_FILES or parts[-1].startswith("._")


def strip_top(files: list[Member]) -> tuple[list[Member], str]:
    """Takes off the one folder that holds everything, as zipping a folder makes it."""
    tops = {member.path.partition("/")[0] for member in files}
    if len(tops) != 1 or any("/" not in member.path for member in files):
        return files, ""
    top = tops.pop()
    return [
        Member(member.path.partition("/")[2], member.entry, member.executable) for member in files
    ], top


def check_collisions(found: Iterable[tuple[str, bool]]) -> None:
    """No two names that some file system takes for one, and no file that is also a folder.

    Each with whether it is a folder itself.
    """
    files: dict[str, str] = {}
    folders: dict[str, str] = {}
    for path, folder in found:
        if folder:
            check_folder(folders, path)
            continue
        key = fold(path)
        if key in files:
            raise BadBundle("name_collision", f"{files[key]} and {path} collide; rename one")
        files[key] = path
        check_folder(folders, path.rpartition("/")[0])
    for key, path in files.items():
        if key in folders:
            raise BadBundle("name_collision", f"{path} is a file and a folder; rename one")


def check_folder(folders: dict[str, str], path: str) -> None:
    """It and those that it lies in have one spelling each."""
    while path:
        other = folders.setdefault(fold(path), path)
        if other != path:
            raise BadBundle("name_collision", f"{other}/ and {path}/ collide; rename one")
        path = path.rpartition("/")[0]


def fold(path: str) -> str:
    if path.isascii():
        return path.lower()
    return unicodedata.normalize("NFKC", unicodedata.normalize("NFKC", path).casefold())
