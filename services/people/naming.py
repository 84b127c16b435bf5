"""What is somebody called, and what may they be, of whom an identity provider speaks?"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterable, Iterator, Mapping

from schemas.ids import USER_NAME
from schemas.people import Role

EVERYBODY = "*"
LONGEST = 40
"""Characters, which leaves room for a number."""
NUMBERS = range(2, 100)


def names_for(name: str, email: str) -> Iterator[str]:
    """Names to try in this order: what they like to be called, made to fit."""
    plain = fitting(name.partition("@")[0]) or fitting(email.partition("@")[0]) or "user"
    yield plain
    for number in NUMBERS:
        yield f"{plain}-{number}"


def fitting(text: str) -> str:
    """As a user's name; empty where nothing is left of it."""
    ascii = unicodedata.normalize("NFKD", text).encode("ascii", "ignore").decode().lower()
    plain = re.sub(r"[^a-z0-9_]+", "-", ascii).strip("-_")[:LONGEST].strip("-_")
    return plain if USER_NAME.fullmatch(plain) else ""


def role_by_groups(groups: Iterable[str], roles: Mapping[str, Role]) -> Role | None:
    """The highest that one of their groups stands for; None where none does."""
    found = [roles[group] for group in groups if group in roles and group != EVERYBODY]
    return max(found, key=lambda role: role.rank, default=None)
