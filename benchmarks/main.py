"""Does Stoker hold the bars of its first milestone on this machine? ``make bench-main``"""

from __future__ import annotations

import sys

from benchmarks import demo, dispatch, idle, latency, run, upload

FIGURES: run.Measures = {
    "demo": (lambda _: demo.fresh_clone(), 300),
    "latency": (lambda _: latency.docker_first_line(), 90),
    "dummy": (lambda _: dispatch.dummy(), 90),
    "process": (lambda _: dispatch.process(), 90),
    "containers": (lambda _: dispatch.containers(), 150),
    "upload": (lambda _: upload.one_gibibyte(), 180),
    "idle": (lambda _: idle.stack_at_rest(), 75),
}


def main() -> int:
    return run.run(FIGURES, run.read(run.parser(__doc__, FIGURES), FIGURES))


if __name__ == "__main__":
    sys.exit(main())
