"""Does what surrounds a run hold its figures? ``make bench-environment``"""

from __future__ import annotations

import sys

from benchmarks import run
from benchmarks.environment import bundle, charts, data, images, metrics, outputs

FIGURES: run.Measures = {
    "again": (lambda asked: images.again(10 * asked.rounds), 600),
    "ten": (lambda asked: images.ten(asked.image), 1200),
    "charts": (lambda asked: charts.figures(asked.points), 900),
    "metrics": (lambda _: metrics.figures(), 600),
    "bundle": (lambda asked: bundle.figures(asked.mebibytes), 1200),
    "data": (lambda asked: data.figures(asked.data << 20, asked.files, asked.rounds), 1800),
    "outputs": (lambda asked: outputs.figures(asked.mebibytes << 20, asked.rounds), 1200),
}


def main() -> int:
    parser = run.parser(__doc__, FIGURES)
    parser.add_argument("--mebibytes", type=int, default=2048, help="of outputs, of a folder")
    parser.add_argument("--image", type=int, default=256, help="MiB of a new environment")
    parser.add_argument("--data", type=int, default=5120, help="MiB of a dataset")
    parser.add_argument("--files", type=int, default=50_000, help="of a dataset")
    parser.add_argument("--points", type=int, default=100_000, help="of each of 20 curves")
    parser.add_argument("--rounds", type=int, default=3, help="of each, in turn")
    return run.run(FIGURES, run.read(parser, FIGURES))


if __name__ == "__main__":
    sys.exit(main())
