#!/bin/sh
# Download every package into SVHN_TUI_WHEELS, for machines without a network. SVHN_TUI_CUDA says for which JAX.
set -eu
PYTHON=${PYTHON:-python3}
[ -n "${SVHN_TUI_WHEELS-}" ] || { echo "Name the folder: make wheels SVHN_TUI_WHEELS=DIR SVHN_TUI_CUDA=cuda12" >&2; exit 1; }
kind=$(sh "$(dirname "$0")/cuda_extra.sh")
constraints=constraints.txt extras=
[ "$kind" = cpu ] || constraints="constraints.txt constraints-$kind.txt" extras="[$kind]"
mkdir -p "$SVHN_TUI_WHEELS"
PIP_CONSTRAINT="$constraints" "$PYTHON" -m pip download --dest "$SVHN_TUI_WHEELS" ".$extras" hatchling editables
echo "$SVHN_TUI_WHEELS holds JAX for $kind and all else; install from it with make install SVHN_TUI_WHEELS=DIR SVHN_TUI_CUDA=$kind."
