"""``stoker``, ``python -m stoker``: where does the command begin?"""

from __future__ import annotations

import sys
from pathlib import Path


def main() -> None:
    put_app_on_path()
    if sys.argv[1:2] == ["decode"] and not {"-h", "--help"} & set(sys.argv):
        from stoker import decode  # The NATS CLI starts it once per message: nothing else loads.

        sys.exit(decode.main(sys.argv[2:]))
    from stoker.command import run

    sys.exit(run(sys.argv[1:]))


def put_app_on_path() -> None:
    """In a wheel the other packages lie in ``stoker/app``; in the repository beside this one."""
    app = Path(__file__).resolve().parent / "app"
    if app.is_dir():
        sys.path.insert(0, str(app))


if __name__ == "__main__":
    main()
