"""How does a person read the table of permissions?"""

from __future__ import annotations

from collections.abc import Iterable

from bus.permissions import (
    BORDER,
    FLEET_ROLES,
    MAIN_ROLES,
    NAME,
    POOL,
    STREAM_NAMES,
    SYSTEM_ROLE,
    Role,
)

API = "$JS.API."
EVERYTHING, EVERY_STREAM = "everything", "every stream"


def markdown() -> str:
    """The table of roles and that of the border, as ``docs/security.md`` has them."""
    lines = [
        "| user | may say | never | may hear | reads | keeps keys | keeps objects |",
        "|---|---|---|---|---|---|---|",
        *(row(role) for role in (*MAIN_ROLES, *FLEET_ROLES, SYSTEM_ROLE)),
        "",
        "| crosses the border | subject | |",
        "|---|---|---|",
    ]
    for one in BORDER:
        way = "services say, workers hear" if one.kind == "stream" else "workers ask"
        lines.append(f"| {one.name} | `{one.subject}` | {way} |")
    return "\n".join(lines) + "\n"


def row(role: Role) -> str:
    says, never, hears = map(quoted, (role.says, role.never, role.hears))
    if role.deaf:
        hears += f", but not {quoted(role.deaf)}"
    if role.responds:
        says += ", answers"
    if role.bearer:
        says += " (its token is enough, without a key)"
    streams = map(plain, (role.reads, role.keeps, role.stores))
    parts = (f"**{role.name}**", says, never, hears, *streams)
    return f"| {' | '.join(parts)} |"


def plain(names: Iterable[str]) -> str:
    if tuple(names) == STREAM_NAMES:
        return EVERY_STREAM
    return ", ".join(names)


def quoted(subjects: Iterable[str]) -> str:
    """Subjects, those of JetStream's API last and shorter."""
    ours: list[str] = []
    api: dict[str, list[str]] = {}
    for subject in subjects:
        if subject == ">":
            ours.append(EVERYTHING)
        elif subject.startswith(API):
            verb, rest = split_verb(subject.removeprefix(API))
            api.setdefault(verb, []).append(rest)
        else:
            ours.append(f"`{readable(subject)}`")
    ours += [f"`{verb}` {about(rest)}".strip() for verb, rest in api.items()]
    return ", ".join(ours)


def about(names: list[str]) -> str:
    """What a verb may be done to."""
    streams = {name.split(".")[0] for name in names}
    if set(STREAM_NAMES) <= streams:
        return EVERY_STREAM
    return " ".join(f"`{readable(one)}`" for one in names if one)


def split_verb(text: str) -> tuple[str, str]:
    """The verb, and what it is about."""
    tokens = text.split(".")
    size = next((at for at, token in enumerate(tokens) if not is_verb(token)), len(tokens))
    return ".".join(tokens[:size]), ".".join(tokens[size:])


def is_verb(token: str) -> bool:
    return token in {
        *("STREAM", "CONSUMER", "MSG", "DIRECT", "GET", "NEXT", "DELETE", "CREATE", "INFO"),
        *("UPDATE", "PURGE", "NAMES", "LIST"),
    }


def readable(subject: str) -> str:
    return subject.replace(NAME, "<name>").replace(POOL, "<pool>")
