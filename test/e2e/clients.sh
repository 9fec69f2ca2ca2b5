#!/bin/bash
# clients.sh [FOLDER]: real kubectls, old and new, from Debian's archive into FOLDER (default
# node_modules/.cache/wherry/clients), and one line for each: NAME PATH VERSION.
#
#   kubectl-1.20     what Debian 12 carries
#   kubectl-1.32     what Debian 13 carries
#   kubectl-newest   the newest of any suite, unreleased ones included
#
# Nothing is installed: apt fetches and verifies the packages with lists of its own, through the mirror, proxy and
# certificates that this host's apt is set up with (on other systems, DEBIAN_MIRROR=URL names one). What is in FOLDER already is not fetched again.
set -eu
cd "$(dirname "$0")/../.."
folder=${1:-node_modules/.cache/wherry/clients}
mkdir -p "$folder"
folder=$(cd "$folder" && pwd)
suites='bookworm trixie forky sid experimental'
keyring=/usr/share/keyrings/debian-archive-keyring.gpg
work=$(mktemp -d); trap 'rm -rf "$work"' EXIT
say() { echo "clients.sh: $*" >&2; }
die() { say "$*"; exit 1; }

# An apt that knows only the sources below and touches nothing of the host's.
apt() {
  local tool=$1; shift
  timeout 300 "$tool" -qq -o Dir::Etc::sourcelist="$work/sources.list" -o Dir::Etc::sourceparts=/dev/null \
    -o Dir::Etc::preferencesparts=/dev/null -o Dir::State="$work/state" -o Dir::State::status=/dev/null -o Dir::Cache="$work/cache" \
    -o Acquire::Languages=none -o Acquire::Retries=3 -o APT::Sandbox::User=root "$@"
}

debian_mirror() {
  apt-get indextargets --format '$(REPO_URI) $(RELEASE) $(ORIGIN)' 'Created-By: Packages' 2>/dev/null |
    awk '$3 == "Debian" && $2 ~ /^[a-z]+$/ { print $1; exit }'
}

prepare() {
  local mirror suite
  mkdir -p "$work"/{state/lists/partial,cache/archives/partial}
  [ -e $keyring ] || DEBIAN_FRONTEND=noninteractive timeout 120 apt-get -qq install -y debian-archive-keyring >/dev/null 2>&1 ||
    die "please install debian-archive-keyring"
  mirror=${DEBIAN_MIRROR:-$(debian_mirror)}
  [ -n "$mirror" ] || { timeout 300 apt-get -qq update >/dev/null 2>&1 || true; mirror=$(debian_mirror); }
  [ -n "$mirror" ] || die "apt here knows no Debian mirror: set DEBIAN_MIRROR to one"
  for suite in $suites; do
    echo "deb [signed-by=$keyring] $mirror $suite main" >"$work/sources.list"
    # One at a time: a suite that the mirror lacks must not spoil the others.
    apt apt-get update >"$work/log" 2>&1 || { say "no suite $suite: $(grep '^[EW]: ' "$work/log" | head -1)"; continue; }
    apt apt-cache madison kubectl kubernetes-client 2>/dev/null |
      awk -F' *[|] *' -v suite="$suite" '$3 ~ / Packages$/ { gsub(/ /, "", $1); print $2, $1, suite }' >"$work/found"
    [ -s "$work/found" ] || say "suite $suite has no kubectl"
    cat "$work/found" >>"$work/all"
  done
  [ -s "$work/all" ] || die "no suite of the mirror has a kubectl"
  # Where one version has both packages, kubectl is the one with the program in it.
  sort -k1,1V -k2,2r -o "$work/all" "$work/all"
}

# pick NAME VERSION-PATTERN: the highest version that fits
pick() {
  local version package suite
  [ -x "$folder/$1" ] && return
  [ -s "$work/all" ] || prepare
  read -r version package suite < <(grep -E "^([0-9]+:)?$2" "$work/all" | tail -1) || { say "$1: no suite has one"; return; }
  sed -i "s/ [a-z]* main$/ $suite main/" "$work/sources.list"
  rm -rf "$work/deb"; mkdir "$work/deb"
  (apt apt-get update && cd "$work/deb" && apt apt-get download "$package=$version" && dpkg -x ./*.deb .) >"$work/log" 2>&1 ||
    { say "$1: cannot fetch $package $version from $suite: $(tail -1 "$work/log")"; return; }
  # Moved into place as a whole: a broken-off fetch must not count as fetched.
  [ -x "$work/deb/usr/bin/kubectl" ] || { say "$1: $package $version has no /usr/bin/kubectl"; return; }
  cp "$work/deb/usr/bin/kubectl" "$folder/.$1.new" && mv "$folder/.$1.new" "$folder/$1"
}

pick kubectl-1.20 '1\.20\.'
pick kubectl-1.32 '1\.32\.'
pick kubectl-newest ''
for name in kubectl-1.20 kubectl-1.32 kubectl-newest; do
  [ -x "$folder/$name" ] || continue
  echo "$name $folder/$name $(timeout 20 "$folder/$name" version --client 2>/dev/null | grep -oE 'v[0-9]+\.[0-9]+\.[0-9]+' | head -1)"
done
