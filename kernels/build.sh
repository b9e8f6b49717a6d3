#!/bin/sh
# Compiles the kernels to PTX, or with an argument into that folder. It needs clang 19.1.7 and no CUDA SDK; each text
# begins with the SHA-256 of the headers that it includes and its source.
set -eu
cd "$(dirname "$0")"
out=${1:-ptx}
mkdir -p "$out"
for src in *.cu; do
	name=${src%.cu}
	headers=$(sed -n 's/^#include "\(.*\)"$/\1/p' "$src")
	# shellcheck disable=SC2086 # one word each
	sha=$(cat $headers "$src" | sha256sum | cut -d' ' -f1)
	{
		echo "// source: $src"
		echo "// sha256 of headers and source: $sha"
		"${CLANG:-clang-19}" -x cuda -nocudainc -nocudalib --cuda-device-only -O3 -S --cuda-path=/nonexistent \
			--cuda-gpu-arch=sm_80 --cuda-feature=+ptx78 -Werror -Wall "$src" -o -
	} >"$out/$name.tmp"
	mv "$out/$name.tmp" "$out/$name.ptx"
done
