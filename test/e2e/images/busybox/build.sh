#!/bin/bash
# Builds wherry-test/busybox on the engine that DOCKER_HOST names (default: the local one). Needs no registry:
# busybox comes from this host or from apt (busybox-static), netecho from netecho.c.
# An image that was built from the same files is kept.
set -eu
cd "$(dirname "$0")"
image=wherry-test/busybox
work=$(mktemp -d); trap 'rm -rf "$work"' EXIT
die() { echo "build.sh: $*" >&2; exit 1; }

hash=$(find . -type f | LC_ALL=C sort | xargs cat | sha256sum | cut -c1-16)
label=io.wherry.sources
if [ "$(docker image inspect -f "{{index .Config.Labels \"$label\"}}" "$image" 2>/dev/null)" = "$hash" ]; then
  echo "$image: already built"
  exit
fi

# A busybox that is linked statically, as an image from scratch has no libraries.
busybox=$(command -v busybox || true)
if [ -z "$busybox" ] || ldd "$busybox" >/dev/null 2>&1; then
  mkdir "$work/deb"
  # Downloaded and unpacked, not installed: the package would push out the host's own busybox.
  (cd "$work/deb" && timeout 120 apt-get -qq -o APT::Sandbox::User=root download busybox-static && dpkg -x ./*.deb .) ||
    die "apt has no busybox-static: apt-get update?"
  busybox=$(find "$work/deb" -path '*bin/busybox' | head -1)
fi
if ! command -v gcc >/dev/null; then
  DEBIAN_FRONTEND=noninteractive timeout 600 apt-get -qq install -y --no-install-recommends gcc libc6-dev >"$work/apt.log" 2>&1 ||
    die "apt could not install gcc: $(grep '^E: ' "$work/apt.log" | tail -1)"
fi

context=$work/context; mkdir "$context"
cp -r Dockerfile stay web www "$context"
chmod 755 "$context"/{stay,web,www/cgi-bin/*}
install -m 755 "$busybox" "$context/busybox"
gcc -static -Os -s -o "$context/netecho" netecho.c
DOCKER_BUILDKIT=0 timeout 120 docker build -q --network none --label "$label=$hash" -t "$image" -t "$image:1" "$context" >"$work/log" 2>&1 ||
  die "docker build of $image failed: $(tail -3 "$work/log")"
echo "$image: built ($(docker image inspect -f '{{.Size}}' "$image" | awk '{printf "%.1f MB", $1 / 1e6}'))"
