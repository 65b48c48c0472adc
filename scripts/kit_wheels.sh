#!/bin/sh
# Download into .whl what the kit of `make gpu` needs on a box without a network that has JAX and the usual scientific
# packages, but no Keras or Textual. KIT_PYTHON=3.12 is that box's Python.
set -eu
PYTHON=${PYTHON:-python3}
wanted='annotated-doc|annotated-types|click|keras|linkify-it-py|markdown-it-py|mdit-py-plugins|mdurl|msgspec|namex|nvidia-ml-py|optree|platformdirs|psutil|pydantic|pydantic_core|pygments|rich|shellingham|textual|tinydb|typer|typing-inspection|typing_extensions|uc-micro-py'
mkdir -p .whl
rm -f .whl/*.whl
platforms=$(for number in 2_28 2_27 2_17 2_12 2_5; do echo "--platform manylinux_${number}_x86_64"; done)
grep -iE "^($wanted)==" constraints.txt | sed 's/ *#.*//' > .whl/list
# shellcheck disable=SC2086  each platform is a word of its own
"$PYTHON" -m pip download --quiet --no-deps --only-binary=:all: --implementation cp --python-version "${KIT_PYTHON:-3.12}" \
    $platforms --dest .whl --requirement .whl/list
rm .whl/list
echo "$(ls .whl | wc -l) wheels, $(du -sh .whl | cut -f1). On the box, in a copy of this folder:"
echo '  python3 -m pip install --no-index --no-deps --target .site .whl/*.whl'
echo '  PYTHONPATH=$PWD:$PWD/.site OUT=$PWD python3 -m tests.gpu --seconds 500'
