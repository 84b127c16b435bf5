"""Trees for tests: files in memory, cut every so many bytes."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping

from schemas.tree import PIECE, Tree, TreeFile


def tree_of(files: Mapping[str, bytes], every: int = 300_000) -> tuple[Tree, dict[bytes, bytes]]:
    """The tree, and the bytes of each of its pieces by digest."""
    names = sorted(files)
    row = b"".join(files[name] for name in names)
    pieces, packed = {}, b""
    for at in range(0, len(row), every):
        part = row[at : at + every]
        digest = hashlib.sha256(part).digest()
        pieces[digest] = part
        packed += PIECE.pack(digest, len(part))
    listed = tuple(
        TreeFile(name, 0o644, len(files[name]), hashlib.sha256(files[name]).hexdigest())
        for name in names
    )
    return Tree(listed, packed), pieces
