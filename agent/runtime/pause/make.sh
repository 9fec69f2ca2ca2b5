#!/bin/bash
# Assembles pause-*.S into binaries.ts. Debian and Ubuntu: apt-get install binutils binutils-aarch64-linux-gnu binutils-arm-linux-gnueabihf
# "make.sh check" only says whether binaries.ts is what the sources give.
set -eu
cd "$(dirname "$0")"
work=$(mktemp -d); trap 'rm -rf "$work"' EXIT

assemble() {   # ARCH TOOL-PREFIX: the bytes of the text section are the executable
  "$2-as" -o "$work/$1.o" "pause-$1.S"
  "$2-objcopy" -O binary -j .text "$work/$1.o" "$work/$1"
}
entry() { echo "  $1: // $(stat -c %s "$work/$1") bytes"; echo "    '$(base64 -w0 "$work/$1")',"; }

assemble amd64 x86_64-linux-gnu
assemble arm64 aarch64-linux-gnu
assemble arm arm-linux-gnueabihf
{
  echo '// Made by make.sh from pause-*.S: change those.'
  echo
  echo '/** The pause executables, base64, by architecture as Docker names it. */'
  echo 'export const pauseBinaries = {'
  entry amd64; entry arm64; entry arm
  echo '} as const'
} >"$work/binaries.ts"

if [ "${1:-}" = check ]; then
  cmp -s "$work/binaries.ts" binaries.ts || { echo "make.sh: binaries.ts is not what pause-*.S gives" >&2; exit 1; }
else
  cp "$work/binaries.ts" binaries.ts
fi
