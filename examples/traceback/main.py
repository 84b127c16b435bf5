"""Fails the way training code does: a few good steps, then a traceback."""

import time


def step(number):
    batch = [1.0] * (4 - number)
    return sum(batch) / len(batch)


for number in range(10):
    print(f"step {number}  loss {step(number):.3f}", flush=True)
    time.sleep(0.2)
