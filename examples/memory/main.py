"""Takes memory, 32 MiB at a time, until it is killed for it."""

import time

kept = []
while True:
    kept.append(bytes(range(256)) * (128 * 1024))
    print(f"{32 * len(kept)} MiB", flush=True)
    time.sleep(0.05)
