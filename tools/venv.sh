#!/bin/sh
# venv.sh: the official clients that the server tests use, in build/venv; fetched once.
set -eu
cd "$(dirname "$0")/.."
[ -f build/venv/.ok ] && exit 0
mkdir -p build
{ python3 -m venv build/venv && build/venv/bin/pip install -q --disable-pip-version-check openai; } > build/venv.log 2>&1 ||
	{ echo "venv: the openai package cannot be installed: $(grep -m1 -i error build/venv.log | cut -c1-160)" >&2; exit 5; }
: > build/venv/.ok
