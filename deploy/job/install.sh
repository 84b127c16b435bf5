#!/bin/sh
# The environment of a bundle that names its packages and has no Dockerfile of its own.
#
#     install.sh uv.lock|requirements.txt|environment.yml|pyproject.toml [PYTHON]
#
# Runs in a container of the base image, without rights: as a user of its own, with no capabilities, and
# with limits. /opt/stoker holds the file that it is called with and what that one needs (what a
# pyproject.toml names arrives as requirements.txt; micromamba, where the image has none and the worker
# has, as .micromamba), and is the only folder that belongs to that user. What it leaves there becomes
# the environment's image; the code is mounted at /job when it runs. It runs again when this file, the
# base image or the bundle's files change. A pool may use another script: see docs/environments.md.
set -eu
source=${1:-requirements.txt} wanted=${2:-}
cd /opt/stoker
export HOME=/opt/stoker/tmp TMPDIR=/opt/stoker/tmp PIP_DISABLE_PIP_VERSION_CHECK=1
mkdir -p tmp

# Its last line is told as the reason.
give_up() {
    echo "ERROR: $1" >&2
    exit 1
}

# /opt/stoker/env/bin is the first place where the job's programs are looked for. The packages of the
# base image are seen from there too, also where that is a virtual environment itself.
make_environment() {
    python=$(command -v python || command -v python3) ||
        give_up "the base image has no Python: name one that has with --image, or write a Dockerfile"
    "$python" -c 'import pip' 2>/dev/null ||
        give_up "the base image has no pip: name one that has with --image, or write a Dockerfile"
    "$python" -m venv --system-site-packages --without-pip env
    env/bin/python - "$("$python" -c 'import site; print(chr(10).join(site.getsitepackages()))')" <<'END_OF_PYTHON'
import pathlib, sys, sysconfig
pathlib.Path(sysconfig.get_path("purelib"), "base-image.pth").write_text(sys.argv[1] + "\n")
END_OF_PYTHON
}

# What was downloaded on this worker before, where it keeps that. Who can write there decides what others
# install, so it can be written to only where the bundle names packages and nothing else, and then by pip
# alone, which may start no other program: the kernel refuses it. 75 tells that a package has to be built:
# it is all begun anew, in a container in which the folder cannot be written to.
downloaded=/var/cache/stoker/pip
ONLY_PIP='
import os, resource, runpy, sys
def watch(event, arguments):
    if event == "subprocess.Popen" and os.path.basename(os.fsdecode(arguments[0])) not in ASKS:
        sys.stdout.flush()
        os._exit(75)
ASKS = {"lsb_release", "uname", "rustc"}  # for what pip tells an index of itself
resource.setrlimit(resource.RLIMIT_NPROC, (0, 0))
sys.addaudithook(watch)
sys.argv[0] = "pip"
runpy.run_module("pip", run_name="__main__", alter_sys=True)
'
LINKS='
import os, sys
for place, _, names in os.walk(sys.argv[1]):
    beside = sys.argv[2] + place[len(sys.argv[1]):]
    os.makedirs(beside)
    for name in names:
        os.symlink(os.path.join(place, name), os.path.join(beside, name))
'
pip_install() {
    if [ -w "$downloaded" ]; then
        env/bin/python -I -c "$ONLY_PIP" install --cache-dir "$downloaded" --no-input --progress-bar=off "$@"
    elif [ -d "$downloaded" ]; then
        env/bin/python -I -c "$LINKS" "$downloaded" tmp/downloaded
        env/bin/python -m pip install --cache-dir tmp/downloaded --no-input --progress-bar=off "$@"
    else
        env/bin/python -m pip install --no-cache-dir --no-input --progress-bar=off "$@"
    fi
}

# Exactly what the lock says, from where it says, but for the project itself and what only developers need.
uv_sync() {
    uv=$(command -v uv) || {
        pip_install --target tmp/uv uv
        uv=tmp/uv/bin/uv
    }
    export UV_CACHE_DIR=/opt/stoker/tmp/uv-cache UV_PYTHON_DOWNLOADS=never UV_NO_PROGRESS=1
    UV_PROJECT_ENVIRONMENT=/opt/stoker/env UV_PYTHON=/opt/stoker/env/bin/python \
        "$uv" sync --frozen --no-dev --no-install-project --inexact
}

conda_create() {
    export MAMBA_ROOT_PREFIX=/opt/stoker/tmp/mamba CONDA_PKGS_DIRS=/opt/stoker/tmp/packages
    export MAMBA_ALWAYS_YES=true CONDA_ALWAYS_YES=true
    if [ -f .micromamba ]; then
        chmod u+x .micromamba
        ./.micromamba create --yes --prefix /opt/stoker/env --file environment.yml
        rm .micromamba
    elif command -v micromamba; then
        micromamba create --yes --prefix /opt/stoker/env --file environment.yml
    elif conda=$(command -v mamba || command -v conda); then
        "$conda" env create --prefix /opt/stoker/env --file environment.yml
    else
        give_up "neither the base image nor the worker has micromamba, which environment.yml needs"
    fi
    [ -x env/bin/python ] || give_up "environment.yml has no Python: add python=${wanted:-3.12} to it"
    has=$(env/bin/python -c 'import sys; print("%d.%d" % sys.version_info[:2])')
    [ "${wanted:-$has}" = "$has" ] ||
        give_up "the job asks for Python $wanted, but its environment.yml has $has: change one of them"
}

case $source in
environment.yml)
    conda_create
    ;;
uv.lock)
    make_environment
    uv_sync
    ;;
*)
    make_environment
    pip_install -r requirements.txt
    ;;
esac
rm -rf tmp
