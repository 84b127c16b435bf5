#!/bin/sh
# The environment of a bundle that names its packages and has no Dockerfile of its own.
#
# Runs in a container of the base image, without rights: as a user of its own, with no capabilities, and
# with limits. /opt/stoker holds the bundle's requirements (those of a pyproject.toml arrive as
# requirements.txt) and is the only folder that belongs to that user. What it leaves there becomes the
# environment's image; the code is mounted at /job when it runs. It runs again when this file, the base
# image or the requirements change. A pool may use another script: see docs/environments.md.
set -eu
cd /opt/stoker
export HOME=/opt/stoker/tmp TMPDIR=/opt/stoker/tmp PIP_DISABLE_PIP_VERSION_CHECK=1
mkdir -p tmp

# /opt/stoker/env/bin is the first place where the job's programs are looked for. The packages of the
# base image are seen from there too, also where that is a virtual environment itself.
python -m venv --system-site-packages --without-pip env
env/bin/python - "$(python -c 'import site; print(chr(10).join(site.getsitepackages()))')" <<'END'
import pathlib, sys, sysconfig
pathlib.Path(sysconfig.get_path("purelib"), "base-image.pth").write_text(sys.argv[1] + "\n")
END

env/bin/python -m pip install --no-cache-dir --no-input --progress-bar=off -r requirements.txt
rm -rf tmp
