#!/bin/bash
# build.sh [IMAGE-FOLDER...]: builds the guestbook's images (default: all three) on the engine that DOCKER_HOST or
# "--docker-host unix:///path" names. Needs no registry: when debian:bookworm-slim is neither here nor to be pulled
# within some seconds, it is made with debootstrap from the Debian mirror that this host's apt uses.
# An image that was built from the same folder is kept. Needs root for debootstrap only.
# BASE=debootstrap makes the base image even if a registry has it: for a host whose mirror the pulled one cannot reach.
set -eu
cd "$(dirname "$0")"
base=debian:bookworm-slim
suite=bookworm
label=io.wherry.sources
work=$(mktemp -d "${TMPDIR:-/var/tmp}/wherry-images.XXXXXX")
trap 'clean_up' EXIT
say() { echo "build.sh: $*"; }
die() { echo "build.sh: $*" >&2; exit 1; }

clean_up() {
  # debootstrap mounts /proc and /sys inside; a removal must never reach into them
  local mount
  awk -v at="$work/" 'index($2, at) == 1 { print $2 }' /proc/mounts | sort -r | while read -r mount; do umount -l "$mount"; done
  rm -rf --one-file-system "$work"
}

# image_of FOLDER: the names that the manifests use
image_of() {
  case $1 in
    redis-master) echo kubeguide/redis-master ;;
    redis-slave) echo kubeguide/guestbook-redis-slave ;;
    php-frontend) echo kubeguide/guestbook-php-frontend ;;
    *) die "no such image folder: $1" ;;
  esac
}

hash_of() { (cd "$1" && find . -type f | LC_ALL=C sort | xargs sha256sum | sha256sum | cut -c1-16); }

# The Debian mirror of this host's apt for a suite pattern; nothing on other systems. indextargets knows both formats of
# sources files, and answers once apt has lists.
targets() { apt-get indextargets --format '$(REPO_URI) $(RELEASE) $(ORIGIN)' 'Created-By: Packages' 2>/dev/null; }
mirror_for() { targets | awk -v suite="$1" '$3 == "Debian" && $2 ~ suite { sub("/$", "", $1); print $1; exit }'; }

# What apt on this host needs to reach its mirror, for the apt inside the image.
apt_settings() { apt-config dump | grep -E '^Acquire::(https?|Check-Valid-Until|Check-Date|ForceIPv[46])\b' | grep -v ' "";$' || true; }

make_base() {
  local mirror security extra=() root=$work/root
  [ "$(id -u)" = 0 ] || die "$base cannot be pulled here, and making it with debootstrap needs root"
  say "making $base with debootstrap"
  [ -n "$(targets)" ] || timeout 300 apt-get -qq update >/dev/null 2>&1 || true
  if ! command -v debootstrap >/dev/null || [ ! -e /usr/share/keyrings/debian-archive-keyring.gpg ]; then
    DEBIAN_FRONTEND=noninteractive timeout 300 apt-get -qq install -y --no-install-recommends debootstrap debian-archive-keyring >"$work/apt.log" 2>&1 ||
      die "apt could not install debootstrap: $(grep '^E: ' "$work/apt.log" | tail -1)"
  fi
  mirror=$(mirror_for '^[a-z]+$')
  security=$(mirror_for -security'$')

  [[ $mirror$security != *https:* ]] || extra+=(--include=ca-certificates)
  timeout 1200 debootstrap --variant=minbase ${extra[@]+"${extra[@]}"} \
    --keyring=/usr/share/keyrings/debian-archive-keyring.gpg "$suite" "$root" ${mirror:+"$mirror"} >"$work/debootstrap.log" 2>&1 ||
    die "debootstrap failed: $(grep -E '^[EW]: ' "$work/debootstrap.log" | tail -1)"

  if [ -z "$mirror" ]; then   # not a Debian host: debootstrap has a mirror of its own, with the security one beside it
    mirror=$(awk '$1 == "deb" { sub("/$", "", $2); print $2; exit }' "$root/etc/apt/sources.list")
    security=$mirror-security
  fi
  printf 'deb %s main\n' "$mirror $suite" "$mirror $suite-updates" ${security:+"$security $suite-security"} >"$root/etc/apt/sources.list"
  apt_settings >"$root/etc/apt/apt.conf.d/90host"
  if [ -x "$root/usr/sbin/update-ca-certificates" ]; then
    cp -r /usr/local/share/ca-certificates "$root/usr/local/share/"
    chroot "$root" update-ca-certificates >/dev/null 2>&1
  fi
  slim "$root"
  tar -C "$root" --one-file-system --numeric-owner -c . |
    timeout 300 docker import --change 'CMD ["bash"]' - "$base" >/dev/null || die "docker import of $base failed"
  rm -rf --one-file-system "$root"
}

# The same trims as the published image: no documentation, no package caches, and no services started by packages.
slim() {
  local root=$1
  printf '#!/bin/sh\nexit 101\n' >"$root/usr/sbin/policy-rc.d"; chmod +x "$root/usr/sbin/policy-rc.d"
  printf 'path-exclude /usr/share/%s/*\n' doc man info locale lintian groff linda >"$root/etc/dpkg/dpkg.cfg.d/docker"
  printf 'path-include /usr/share/%s\n' 'doc/*/copyright' >>"$root/etc/dpkg/dpkg.cfg.d/docker"
  printf '%s\n' 'Acquire::Languages "none";' 'Acquire::GzipIndexes "true";' 'Apt::AutoRemove::SuggestsImportant "false";' \
    >"$root/etc/apt/apt.conf.d/docker"
  find "$root/usr/share/doc" -mindepth 1 ! -name copyright ! -type d -delete
  rm -rf "$root"/usr/share/{man,info,locale,lintian,groff,linda}/* "$root"/var/lib/apt/lists/* "$root"/var/cache/{apt,debconf,ldconfig}/* \
    "$root"/var/log/* "$root"/tmp/*
  mkdir -p "$root/var/cache/apt/archives/partial" "$root/var/lib/apt/lists/partial"
}

ensure_base() {
  docker image inspect "$base" >/dev/null 2>&1 && return
  if [ "${BASE:-}" != debootstrap ] && timeout "${PULL_SECONDS:-20}" docker pull -q "$base" >"$work/pull.log" 2>&1; then
    say "$base pulled"
  else
    make_base
  fi
  say "$base: $(docker image inspect -f '{{.Size}}' "$base" | awk '{printf "%.0f MB", $1 / 1e6}')"
}

build() {   # FOLDER
  local image hash name args=()
  image=$(image_of "$1"); hash=$(hash_of "$1")
  if [ "$(docker image inspect -f "{{index .Config.Labels \"$label\"}}" "$image" 2>/dev/null)" = "$hash" ]; then
    say "$image: already built"
    return
  fi
  ensure_base
  # A proxy that apt knows of serves the build too; these two arguments leave no trace in the image.
  for name in http https; do
    local P=; eval "$(apt-config shell P "Acquire::$name::Proxy" 2>/dev/null)"
    [ -z "$P" ] || [ "$P" = DIRECT ] || args+=(--build-arg "${name}_proxy=$P")
  done
  # The host's network, so that its name servers, proxies and routes hold inside.
  DOCKER_BUILDKIT=0 timeout 1200 docker build --network host ${args[@]+"${args[@]}"} --label "$label=$hash" -t "$image" "$1" >"$work/log" 2>&1 ||
    { tail -15 "$work/log" >&2; die "docker build of $image failed"; }
  say "$image: built ($(docker image inspect -f '{{.Size}}' "$image" | awk '{printf "%.0f MB", $1 / 1e6}'))"
}

if [ "${1:-}" = --docker-host ]; then export DOCKER_HOST=$2; shift 2; fi
command -v docker >/dev/null && timeout 20 docker version >/dev/null 2>&1 || die "no Docker engine answers: manifests/demo/docker.sh ensure"
[ $# -gt 0 ] || set -- redis-master redis-slave php-frontend
for folder; do build "${folder%/}"; done
