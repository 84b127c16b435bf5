"""Does Stoker keep its promises while its parts are killed? ``make bench-chaos``"""

from __future__ import annotations

import logging
import random
import sys
from pathlib import Path

from benchmarks import run
from benchmarks.chaos import broker, cancel, gone, rounds, scale, throughput
from benchmarks.table import RESULTS

DAY = 86_400.0
FIGURES: run.Measures = {
    "rounds": (lambda asked: rounds.figures(asked.rounds, asked.seed, asked.keep), DAY),
    "gone": (lambda _: gone.figures(), DAY),
    "broker": (lambda _: broker.figures(), DAY),
    "cancel": (lambda _: cancel.figures(), DAY),
    "scale": (lambda _: scale.figures(), DAY),
    "throughput": (lambda _: throughput.figures(), DAY),
}


def main() -> int:
    parser = run.parser(__doc__, FIGURES)
    parser.add_argument("--rounds", type=int, default=20)
    parser.add_argument("--seed", type=int, default=random.SystemRandom().randrange(1_000_000))
    parser.add_argument(
        "--keep", type=Path, default=RESULTS / "chaos.md", help="file with a row for each run"
    )
    asked = run.read(parser, FIGURES)
    logging.getLogger("bus").setLevel(logging.CRITICAL)  # that the broker dies is no news here
    print(f"seed {asked.seed}", flush=True)
    return run.run(FIGURES, asked)


if __name__ == "__main__":
    sys.exit(main())
