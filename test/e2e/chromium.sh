#!/bin/bash
# Debian's Chromium, headless, for a look at a web page.
#
#   chromium.sh ensure                             install it (apt) if it is missing, and print its path
#   chromium.sh screenshot URL OUT.png [WIDTHxHEIGHT]   default 1280x900; within 60 s
#   chromium.sh text URL                           the page's DOM after its scripts ran, as HTML
#
# It never talks to anyone but the page: no updates, no first-run pages, no sync.
set -eu
die() { echo "chromium.sh: $*" >&2; exit 1; }

find_it() { command -v chromium || command -v chromium-browser || command -v google-chrome; }

ensure() {
  local log
  find_it && return
  [ "$(id -u)" = 0 ] || die "Chromium is not installed, and installing it needs root"
  command -v apt-get >/dev/null || die "no Chromium and no apt-get here"
  log=$(mktemp)
  export DEBIAN_FRONTEND=noninteractive
  # Fonts: a page of squares tells nothing. DejaVu for Latin, wqy for Chinese.
  timeout 900 apt-get -qq -o DPkg::Lock::Timeout=300 install -y --no-install-recommends chromium fonts-dejavu-core fonts-wqy-microhei >"$log" 2>&1 ||
    die "apt could not install chromium: $(grep '^E: ' "$log" | tail -1)"
  rm -f "$log"
  find_it || die "chromium is installed, yet not in $PATH"
}

run() {
  local program profile status=0
  program=$(ensure)
  profile=$(mktemp -d)
  timeout -k 5 60 "$program" --headless --no-sandbox --disable-gpu --disable-quic --disable-dev-shm-usage --no-first-run \
    --disable-background-networking --disable-component-update --disable-sync --hide-scrollbars \
    --user-data-dir="$profile" --virtual-time-budget=5000 "$@" 2>"$profile/errors" || status=$?
  [ $status = 0 ] || tail -3 "$profile/errors" >&2
  rm -rf "$profile"
  return $status
}

case ${1:-} in
  ensure) ensure ;;
  screenshot)
    url=${2:?URL} out=$(realpath -m "${3:?OUT.png}") size=${4:-1280x900}
    [[ $size =~ ^[0-9]+x[0-9]+$ ]] || die "not WIDTHxHEIGHT: $size"
    rm -f "$out"
    run --window-size="${size/x/,}" --screenshot="$out" "$url" >/dev/null || die "no screenshot of $url"
    [ -s "$out" ] || die "no screenshot of $url"
    echo "$out" ;;
  text) run --dump-dom "${2:?URL}" ;;
  *) sed -n '2,9s/^# \{0,1\}//p' "$0"; exit 2 ;;
esac
