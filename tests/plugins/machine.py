"""What does this machine lack for a test? Skipped aloud; with CI=true it is a failure."""

from __future__ import annotations

import os
import shutil
import subprocess
import tempfile
from collections.abc import Callable
from functools import cache

import pytest

BROWSERS = ("chromium", "chromium-browser", "google-chrome", "chrome")
ENGINE_SECONDS = 15.0
LACKING = pytest.StashKey[dict[str, int]]()
"""What is missing, and how many tests that costs."""


@cache
def no_engine() -> str | None:
    try:
        command = ["docker", "version", "--format", "{{.Server.Version}}"]
        subprocess.run(command, capture_output=True, timeout=ENGINE_SECONDS, check=True)
    except (OSError, subprocess.SubprocessError):
        return "no Docker engine answers"
    return None


@cache
def no_browser() -> str | None:
    return None if any(map(shutil.which, BROWSERS)) else "there is no Chromium"


@cache
def no_nats_cli() -> str | None:
    return None if shutil.which("nats") else "the nats command is not on the path"


@cache
def no_provider() -> str | None:
    if not all(map(shutil.which, ("node", "npm"))):
        return "there is no Node.js with npm, for a provider of OpenID Connect"
    return None


@cache
def no_faketime() -> str | None:
    return None if shutil.which("faketime") else "there is no faketime, which sets clocks wrong"


@cache
def no_mounts() -> str | None:
    """Tried out: in a container root may lack the right, or the devices."""
    if os.geteuid() != 0 or not all(map(shutil.which, ("losetup", "mkfs.ext4", "mount"))):
        return "nobody may mount a disk image here"
    with tempfile.TemporaryDirectory() as folder:
        image, place = f"{folder}/image", f"{folder}/place"
        os.mkdir(place)
        try:
            for command in (
                ["truncate", "-s", "4M", image],
                ["mkfs.ext4", "-q", image],
                ["mount", "-o", "loop", image, place],
                ["umount", place],
            ):
                subprocess.run(command, capture_output=True, timeout=ENGINE_SECONDS, check=True)
        except (OSError, subprocess.SubprocessError):
            return "a disk image cannot be mounted here"
    return None


@cache
def no_dockerd() -> str | None:
    if os.geteuid() != 0 or not all(map(shutil.which, ("dockerd", "containerd", "ip"))):
        return "nobody may start a Docker engine here"
    return None


@cache
def no_netns() -> str | None:
    """Tried out: in a container root may lack the right."""
    if os.geteuid() != 0 or not all(map(shutil.which, ("ip", "nsenter"))):
        return "nobody may make a network here"
    space = f"stkt{os.getpid()}"
    try:
        for words in (["add", space], ["del", space]):
            command = ["ip", "netns", *words]
            subprocess.run(command, capture_output=True, timeout=ENGINE_SECONDS, check=True)
    except (OSError, subprocess.SubprocessError):
        return "a network cannot be made here"
    return None


NEEDS: dict[str, Callable[[], str | None]] = {
    "docker": no_engine,
    "dockerd": no_dockerd,
    "browser": no_browser,
    "nats_cli": no_nats_cli,
    "oidc": no_provider,
    "mounts": no_mounts,
    "netns": no_netns,
    "faketime": no_faketime,
}


@pytest.hookimpl(trylast=True)  # after -m has taken its choice
def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    counts: dict[str, int] = {}
    for item in items:
        for mark, lacks in NEEDS.items():
            if item.get_closest_marker(mark) and (why := lacks()):
                counts[why] = counts.get(why, 0) + 1
                item.add_marker(pytest.mark.skip(reason=why))
    config.stash[LACKING] = counts
    if counts and os.environ.get("CI") == "true":
        told = ", ".join(counts)
        raise pytest.UsageError(f"{told}, and with CI=true nothing may be skipped")


def pytest_terminal_summary(
    terminalreporter: pytest.TerminalReporter, config: pytest.Config
) -> None:
    for why, count in config.stash.get(LACKING, {}).items():
        terminalreporter.section("NOT TESTED HERE", sep="!", yellow=True, bold=True)
        terminalreporter.line(f"{count} tests were skipped: {why}", yellow=True, bold=True)
