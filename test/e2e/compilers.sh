#!/bin/bash
# Installs by apt what is missing of: cc (this machine's C compiler), arm64 (a C compiler for arm64, and qemu to run what
# it makes).   compilers.sh [cc] [arm64]
set -u
packages=()
for what in "$@"; do
  case $what in
    cc) command -v cc >/dev/null || packages+=(gcc libc6-dev) ;;
    arm64)
      command -v aarch64-linux-gnu-gcc >/dev/null || packages+=(gcc-aarch64-linux-gnu)
      [ -e /usr/aarch64-linux-gnu/include/link.h ] || packages+=(libc6-dev-arm64-cross)
      [ -e /usr/aarch64-linux-gnu/lib/libstdc++.so.6 ] || packages+=(libstdc++6-arm64-cross)
      command -v qemu-aarch64-static >/dev/null || command -v qemu-aarch64 >/dev/null || packages+=(qemu-user) ;;
    *) echo "compilers.sh: no such thing: $what" >&2; exit 2 ;;
  esac
done
[ ${#packages[@]} -gt 0 ] || exit 0
[ "$(id -u)" = 0 ] || { echo "compilers.sh: to be installed by root: ${packages[*]}" >&2; exit 1; }
exec >&2
install() { DEBIAN_FRONTEND=noninteractive timeout 600 apt-get -qq -o DPkg::Lock::Timeout=300 install -y --no-install-recommends "${packages[@]}"; }
install || { timeout 300 apt-get -qq update; install; }
