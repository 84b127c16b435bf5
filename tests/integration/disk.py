"""A small disk of one's own: an ext4 in a file, mounted. For those who are root."""

from __future__ import annotations

import contextlib
import subprocess
from collections.abc import Iterator
from pathlib import Path

SECONDS = 60.0
OPTIONS = "loop,commit=300"
"""What is not synced stays in memory: the kernel's own commits would come after 5 s."""


def run(*command: str | Path) -> None:
    subprocess.run(command, check=True, timeout=SECONDS, capture_output=True)


def make_image(image: Path, size: int) -> None:
    """An empty ext4 of ``size`` bytes; blocks that nobody wrote cost nothing."""
    with open(image, "wb") as file:
        file.truncate(size)
    run("mkfs.ext4", "-q", "-m", "0", image)


@contextlib.contextmanager
def mounted(image: Path, folder: Path) -> Iterator[Path]:
    folder.mkdir()
    run("mount", "-o", OPTIONS, image, folder)
    try:
        yield folder
    finally:
        run("umount", folder)


def copy_image(image: Path, copy: Path) -> None:
    """What has reached the disk by now, and nothing else: the image is not synced before."""
    run("cp", "--sparse=always", image, copy)
