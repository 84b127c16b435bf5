"""Does a log hold its figures: every line, soon, for many, at any size? ``make bench-logs``"""

from __future__ import annotations

import sys

from benchmarks import run
from benchmarks.logs import archive, crowd, digits, flood, live, many, page

FIGURES: run.Measures = {
    "flood": (lambda _: flood.figures(), 240),
    "live": (lambda _: live.figures(), 180),
    "crowd": (lambda _: crowd.figures(), 240),
    "page": (lambda _: page.figures(), 180),
    "many": (lambda _: many.figures(), 420),
    "digits": (lambda _: digits.figures(), 300),
    "archive": (lambda asked: archive.figures(asked.gigabytes), 1800),
}


def main() -> int:
    parser = run.parser(__doc__, FIGURES)
    parser.add_argument("--gigabytes", type=int, default=2, help="of the log that is sealed")
    return run.run(FIGURES, run.read(parser, FIGURES))


if __name__ == "__main__":
    sys.exit(main())
