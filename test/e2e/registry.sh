#!/bin/bash
# registry.sh [FOLDER]: the path of Debian's docker-registry, from this host or out of its package, which is unpacked
# into FOLDER (default node_modules/.cache/wherry/registry). Nothing is installed.
set -eu
cd "$(dirname "$0")/../.."
folder=${1:-node_modules/.cache/wherry/registry}
if command -v docker-registry; then exit; fi
mkdir -p "$folder"
folder=$(cd "$folder" && pwd)
if [ ! -x "$folder/usr/bin/docker-registry" ]; then
  work=$(mktemp -d); trap 'rm -rf "$work"' EXIT
  chmod 755 "$work"
  cd "$work"
  timeout 300 apt-get -qq -o APT::Sandbox::User=root download docker-registry >&2 || { timeout 300 apt-get -qq update >&2; timeout 300 apt-get -qq -o APT::Sandbox::User=root download docker-registry >&2; }
  dpkg-deb -x docker-registry_*.deb "$folder"
fi
echo "$folder/usr/bin/docker-registry"
