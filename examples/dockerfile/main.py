"""Shows that it runs in the image of its own Dockerfile."""

from pathlib import Path

print(Path("/etc/stoker-example").read_text(), end="")
