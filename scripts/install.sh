#!/bin/sh
# Set up the environment in $VENV with the JAX that suits this machine; what is there already and fits stays.
#
#   PYTHON=python3 VENV=.venv scripts/install.sh [dev]
#
# SVHN_TUI_CUDA=cuda12|cuda13|cpu decides the kind, for this environment from then on; auto looks at the machine again.
# JAX's builds for CUDA 12 and 13 share folders and break each other, so another kind than before begins anew; one for a
# GPU stays where no card is seen, as on a login node. SVHN_TUI_WHEELS=DIR takes all packages from that folder.
set -eu
PYTHON=${PYTHON:-python3}
VENV=${VENV:-.venv}
EXTRAS=${1:-}
here=$(dirname "$0")

fail() { echo "$*" >&2; exit 1; }

version=$("$PYTHON" -c 'import sys; print("%d.%d" % sys.version_info[:2])' 2> /dev/null) ||
    fail "$PYTHON cannot be run; name a Python 3.11 to 3.13: make run PYTHON=python3.12"
case $version in
    3.11 | 3.12 | 3.13) ;;
    3.1[4-9]* | 3.[2-9]*) fail "Python $version is too new: TensorFlow 2.20 has no package for it. Take 3.11 to 3.13: make run PYTHON=python3.13" ;;
    *) fail "Python $version is too old: 3.11 to 3.13 are needed: make run PYTHON=python3.12" ;;
esac

# What a cluster's modules or a pip.conf set for other environments would install elsewhere, or count what is there.
unset PYTHONPATH PYTHONHOME PIP_TARGET PIP_PREFIX
export PIP_USER=0

chosen=${SVHN_TUI_CUDA:-$(cat "$VENV/chosen" 2> /dev/null || true)}
[ "$chosen" != auto ] || chosen=
kind=$(SVHN_TUI_CUDA=$chosen sh "$here/cuda_extra.sh")
before=$(cat "$VENV/kind" 2> /dev/null || true)  # also of an installation that was cut off
[ -n "$before" ] || [ ! -f "$VENV/ready" ] || before=cpu
if [ -z "$chosen" ] && [ "$kind" = cpu ] && [ -n "$before" ] && [ "$before" != cpu ]; then
    echo "No NVIDIA card that JAX can use is seen here; JAX for $before stays. SVHN_TUI_CUDA=cpu replaces it."
    kind=$before
fi
if [ -n "$before" ] && [ "$before" != "$kind" ]; then
    [ -f "$VENV/pyvenv.cfg" ] || fail "$VENV is no environment of Python; remove it or name another: make install VENV=DIR"
    echo "JAX for $before is replaced by JAX for $kind; $VENV is built anew."
    rm -rf "$VENV"
    before=
fi
stamp=$VENV/ready${EXTRAS:+-$EXTRAS}
if [ -n "$before" ] && [ -f "$stamp" ] && [ -z "$(find pyproject.toml constraints*.txt -newer "$stamp")" ]; then
    exit 0
fi

constraints=constraints.txt
extras=$EXTRAS
size="about 3 GB"
if [ "$kind" != cpu ]; then
    constraints="$constraints constraints-$kind.txt"
    extras=$kind${EXTRAS:+,$EXTRAS}
    size="about 8 GB"
fi
[ -n "$before" ] || echo "Setting up $VENV for $kind: $size, a minute or more on a fast line; this happens once."

if [ ! -x "$VENV/bin/python" ]; then
    "$PYTHON" -m venv "$VENV" > /dev/null 2>&1 || {  # Kaggle's and Debian's Python may lack ensurepip
        rm -f "$VENV/pyvenv.cfg"
        "$PYTHON" -m venv --without-pip "$VENV" || fail "$PYTHON cannot make an environment in $VENV."
    }
fi
echo "$kind" > "$VENV/kind"
rm -f "$VENV/chosen"
[ -z "$chosen" ] || echo "$kind" > "$VENV/chosen"
export PIP_CONSTRAINT="$constraints" UV_CONSTRAINT="$constraints"
if "$VENV/bin/python" -m pip --version > /dev/null 2>&1; then
    set -- "$VENV/bin/python" -m pip install --progress-bar on
elif "$PYTHON" -m pip --python "$VENV/bin/python" --version > /dev/null 2>&1; then
    set -- "$PYTHON" -m pip --python "$VENV/bin/python" install --progress-bar on
elif command -v uv > /dev/null 2>&1; then
    set -- uv pip install --python "$VENV/bin/python"
else
    fail "Neither $PYTHON's pip nor uv is there to install with: sudo apt install python3-venv python3-pip, or install uv."
fi
if [ -n "${SVHN_TUI_WHEELS-}" ]; then
    [ -d "$SVHN_TUI_WHEELS" ] || fail "SVHN_TUI_WHEELS=$SVHN_TUI_WHEELS is no folder; make wheels fills one."
    set -- "$@" --no-index --find-links "$SVHN_TUI_WHEELS"
fi
"$@" --editable ".${extras:+[$extras]}" ||
    fail "The packages could not be installed. Without a network, fill a folder elsewhere with make wheels and name it: SVHN_TUI_WHEELS=DIR"
# Pip compiles what it installs but this folder; where Python is not to write, each process would compile it anew.
"$VENV/bin/python" -m compileall -q engine svhn_tui || true
touch "$VENV/ready" "$stamp"
