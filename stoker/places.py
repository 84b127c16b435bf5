"""Where do the files lie that are no Python: in a wheel, and in the repository?"""

from __future__ import annotations

from pathlib import Path


def root() -> Path:
    """The folder that holds ``examples`` and ``deploy``."""
    here = Path(__file__).resolve().parent
    app = here / "app"
    return app if app.is_dir() else here.parent


def examples() -> Path:
    return root() / "examples"
