"""What was a job made of? The lines of ``stoker show``."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from stoker.answers import current_attempt
from stoker.packing import told_files

PACKAGES_SHOWN = 6
CHANGED = {True: ", with changes that are not in it", False: "", None: ", changed or not: unknown"}


def made_of(record: Mapping[str, Any]) -> list[tuple[str, str]]:
    """Name and value; what is not known is empty."""
    attempt = current_attempt(record)
    chosen = attempt.get("environment") or {}
    again = record.get("reproduce") or {}
    seeds = (again.get("seeds") or {}).items()
    return [
        ("git", source_line((record.get("spec") or {}).get("source"))),
        ("base digest", chosen.get("digest") or ""),
        ("image", chosen.get("image") or ""),
        ("built as", chosen.get("key") or ""),
        ("python", chosen.get("python") or ""),
        ("packages", packages_line(again.get("packages") or ())),
        ("runtime", attempt.get("runtime") or ""),
        ("seed", ", ".join(f"{name} {value}" for name, value in seeds)),
        ("variables", variables_line(record)),
        ("data", data_line((record.get("spec") or {}).get("data") or ())),
        ("repeats", record.get("retry_of") or ""),
        ("begins from", (record.get("spec") or {}).get("resume") or ""),
        ("checkpoint", checkpoint_line(record.get("checkpoint"))),
        ("like", record.get("like") or ""),
        ("again with", again.get("command") or ""),
    ]


def data_line(mounts: Sequence[Mapping[str, Any]]) -> str:
    """Each with its version, and where it lies."""
    return ", ".join(f"{mount_text(mount)} at {mount['path']}" for mount in mounts)


def mount_text(mount: Mapping[str, Any]) -> str:
    if mount.get("source"):
        return str(mount["source"])
    return f"{mount.get('owner')}/{mount.get('name')}@{mount.get('version')}"


def packages_line(packages: Sequence[str]) -> str:
    """The first ones: all of them are many."""
    more = len(packages) - PACKAGES_SHOWN
    shown = ", ".join(packages[:PACKAGES_SHOWN])
    return f"{shown} and {more} more (--json)" if more > 0 else shown


def checkpoint_line(checkpoint: Mapping[str, Any] | None) -> str:
    """From what its next attempt would go on."""
    if not checkpoint:
        return ""
    told = told_files(checkpoint["files"], checkpoint["size"])
    return f"{told}, of attempt {checkpoint['attempt']}"


def source_line(source: Mapping[str, Any] | None) -> str:
    if not source:
        return ""
    branch = f" on {source['branch']}" if source.get("branch") else ""
    return f"{source['commit']}{branch}{CHANGED[source.get('dirty')]}"


def variables_line(record: Mapping[str, Any]) -> str:
    """Secrets among them come masked from the server."""
    variables = (record.get("spec") or {}).get("environment") or {}
    return " ".join(f"{name}={value}" for name, value in variables.items())
