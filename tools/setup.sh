#!/bin/sh
# setup.sh build|test: installs the Debian packages that are missing, and says which; nothing when all are there.
set -eu
build="gcc make libc6-dev libevent-dev libjansson-dev libpcre2-dev libutf8proc-dev libedit-dev libbsd-dev libmd-dev libncurses-dev python3 python3-pip unzip ca-certificates"
test="libcmocka-dev python3-venv gcc-aarch64-linux-gnu libc6-dev-arm64-cross qemu-user g++ libopenblas0-pthread"
case "${1:-}" in
build) want=$build ;;
test) want="$build $test" ;;
*) echo "usage: tools/setup.sh build|test" >&2; exit 2 ;;
esac
command -v dpkg-query >/dev/null 2>&1 || exit 0        # not Debian: README names the libraries
missing=
for p in $want; do
	case "$p" in
	gcc|make|g++|python3|unzip) command -v "$p" >/dev/null 2>&1 && continue ;;
	python3-pip) python3 -m pip --version >/dev/null 2>&1 && continue ;;
	python3-venv) python3 -c 'import venv, ensurepip' >/dev/null 2>&1 && continue ;;
	esac
	dpkg-query -W -f '${Status}' "$p" 2>/dev/null | grep -q 'install ok installed' || missing="$missing $p"
done
[ -n "$missing" ] || exit 0
as_root=
if [ "$(id -u)" != 0 ]; then
	as_root=sudo
	command -v sudo >/dev/null 2>&1 || { echo "setup: these packages are missing and need root to install:$missing" >&2; exit 1; }
fi
echo "setup: installing with ${as_root:-root}:$missing" >&2
$as_root apt-get update -qq >/dev/null || { echo "setup: the package lists cannot be fetched (is there a network?)" >&2; exit 1; }
DEBIAN_FRONTEND=noninteractive $as_root apt-get install -y -qq --no-install-recommends $missing >/dev/null ||
	{ echo "setup: apt-get could not install:$missing" >&2; exit 1; }
