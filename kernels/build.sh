#!/bin/sh
# Compiles the kernels to PTX, or with an argument into that folder. It needs clang 19.1.7 and no CUDA SDK; each text
# begins with the SHA-256 of the headers and its source.
set -eu
cd "$(dirname "$0")"
out=${1:-ptx}
mkdir -p "$out"
for src in *.cu; do
	name=${src%.cu}
	sha=$(cat common.cuh mma.cuh "$src" | sha256sum | cut -d' ' -f1)
	{
		echo "// source: $src"
		echo "// sha256 of common.cuh, mma.cuh and source: $sha"
		"${CLANG:-clang-19}" -x cuda -nocudainc -nocudalib --cuda-device-only -O3 -S --cuda-path=/nonexistent \
			--cuda-gpu-arch=sm_80 --cuda-feature=+ptx78 -Werror -Wall "$src" -o -
	} >"$out/$name.tmp"
	mv "$out/$name.tmp" "$out/$name.ptx"
done
