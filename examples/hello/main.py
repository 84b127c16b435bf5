"""Says hello, with its arguments and what Stoker tells a job of itself."""

import os
import platform
import sys

print(f"Hello from Python {platform.python_version()} on {platform.node()}")
print("arguments:", sys.argv[1:])
for name in sorted(os.environ):
    if name.startswith("STOKER_"):
        print(f"{name}={os.environ[name]}")
print("This line went to standard error.", file=sys.stderr)
