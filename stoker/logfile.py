"""Where does all go that the parts of a running Stoker have to say?"""

from __future__ import annotations

import logging
import logging.handlers
from pathlib import Path

LOG_BYTES = 10 << 20
LOG_FILES = 3


def keep_log(file: Path) -> None:
    """Into one bounded file."""
    handler = logging.handlers.RotatingFileHandler(
        file, maxBytes=LOG_BYTES, backupCount=LOG_FILES, encoding="utf-8"
    )
    handler.setFormatter(logging.Formatter("%(asctime)s %(levelname)s %(name)s: %(message)s"))
    root = logging.getLogger()
    root.addHandler(handler)
    root.setLevel(logging.INFO)
