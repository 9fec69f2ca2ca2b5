#!/bin/bash
# A working Docker engine on this host, with as little change as possible.
#
#   docker.sh ensure   answer at once when an engine answers on the default socket; else install what is
#                      missing (apt: docker.io, iptables) and start it: by systemd where systemd runs,
#                      otherwise as a detached dockerd of our own
#   docker.sh down     stop that dockerd, and only that one: an engine that was already there, or that
#                      systemd runs, stays
#   docker.sh status   one line: which engine answers, and who started it
#
# Needs root on Debian or Ubuntu. WHERRY_DEMO_DIR (default /var/lib/wherry-demo) holds docker.pid and docker.log.
set -u

socket=/var/run/docker.sock
dir=${WHERRY_DEMO_DIR:-/var/lib/wherry-demo}
pidfile=$dir/docker.pid
log=$dir/docker.log

say() { echo "docker.sh: $*"; }
die() { echo "docker.sh: $*" >&2; exit 1; }

# Ask the daemon, not the client: "docker version" prints the client's half even when nobody listens.
answers() { timeout 10 docker -H "unix://$socket" version --format '{{.Server.Version}}' 2>/dev/null; }

systemd_runs() { [ -d /run/systemd/system ]; }

# Whether a process lives, and has that name if one is given: a number may have been reused since, or stand for a zombie
# that nobody collects.
alive() {   # PID [NAME]
  awk -v want="${2:-}" '/^Name:/ { name = $2 } /^State:/ { state = $2 }
    END { exit !(state != "" && state != "Z" && (want == "" || name == want)) }' "/proc/${1:-none}/status" 2>/dev/null
}
pid_in() { local pid; pid=$(cat "$1" 2>/dev/null) && alive "$pid" "$2" && echo "$pid"; }   # FILE NAME
our_pid() { pid_in "$pidfile" dockerd; }

apt_install() {
  say "installing $* (apt)"
  local apt=(timeout 900 apt-get -o DPkg::Lock::Timeout=300 -o Acquire::Retries=3 -qq)
  export DEBIAN_FRONTEND=noninteractive
  "${apt[@]}" install -y --no-install-recommends "$@" >>"$log" 2>&1 && return
  "${apt[@]}" update >>"$log" 2>&1   # no package lists yet, or old ones
  "${apt[@]}" install -y --no-install-recommends "$@" >>"$log" 2>&1 ||
    die "apt could not install $*: $(grep -E '^E: ' "$log" | tail -1) (all of it: $log)"
}

install_engine() {
  local missing=()
  # A "docker" in the path is often only a client: what counts is the daemon.
  command -v dockerd >/dev/null || missing+=(docker.io)
  command -v iptables >/dev/null || missing+=(iptables)
  if [ ${#missing[@]} -gt 0 ]; then
    command -v apt-get >/dev/null || die "no Docker engine and no apt-get here: install Docker by hand, then come again"
    apt_install "${missing[@]}"
  fi
  # Debian 13 has the client in a package of its own.
  command -v docker >/dev/null || apt_install docker-cli
  command -v dockerd >/dev/null || die "docker.io is installed, yet there is no dockerd in $PATH"
}

# Wait until the engine answers; give up when it has died or the time is over.
wait_for_engine() {   # PID-or-empty SECONDS
  local until=$((SECONDS + $2))
  while [ $SECONDS -lt $until ]; do
    [ -S $socket ] && answers >/dev/null && return 0
    [ -z "$1" ] || alive "$1" || return 1
    sleep 0.2
  done
  return 1
}

start_by_systemd() {
  timeout 120 systemctl enable --now docker >>"$log" 2>&1 && wait_for_engine '' 60 ||
    die "systemd could not start docker: see journalctl -u docker"
  say "docker $(answers) runs, started by systemd"
}

# One attempt: start dockerd detached with the given flags. On failure nothing of it is left running, and the
# lines it logged are in $dir/attempt.log.
try_dockerd() {
  local attempt=$dir/attempt.log pid
  : >"$attempt"
  # Its own session and no terminal: it must outlive this script and the shell that called it.
  setsid bash -c 'echo $$ >"$0"; exec dockerd "$@"' "$pidfile" "$@" >>"$attempt" 2>&1 </dev/null &
  wait_for_pidfile
  pid=$(cat "$pidfile")
  if wait_for_engine "$pid" 60; then
    # The daemon holds the file by its open descriptor: renaming keeps one log, and the log goes on growing.
    mv "$attempt" "$log.dockerd"
    say "docker $(answers) runs, pid $pid${*:+, with $*} (log: $log.dockerd)"
    return 0
  fi
  stop_pid "$pid"
  cat "$attempt" >>"$log"
  return 1
}

wait_for_pidfile() { local i; for ((i = 0; i < 50; i++)); do [ -s "$pidfile" ] && return; sleep 0.1; done; }

# The last thing dockerd complained about, in one line.
complaint() {
  grep -hoE 'failed to start daemon: .*|(level=fatal|level=error) msg=.*|^failed .*' "$dir/attempt.log" | tail -1 | cut -c1-300
}

start_by_hand() {
  local flags=() legacy='' why i
  # Daemons that died hard leave pid files behind, and dockerd believes in any process that has such a number now.
  pid_in /var/run/docker.pid dockerd >/dev/null || rm -f /var/run/docker.pid
  pid_in /var/run/docker/containerd/containerd.pid containerd >/dev/null || rm -f /var/run/docker/containerd/containerd.pid
  # The default first. Each failure names its own remedy; the same remedy twice is the end.
  for ((i = 0; i < 4; i++)); do
    rm -f "$pidfile"
    try_dockerd ${flags[@]+"${flags[@]}"} && return 0
    why=$(complaint)
    if [[ ${why,,} =~ iptables|nf_?tables ]] && [ -z "$legacy" ] && command -v iptables-legacy >/dev/null; then
      say "dockerd failed ($why): trying again with iptables-legacy"
      legacy=1; mkdir -p "$dir/bin"
      ln -sf "$(command -v iptables-legacy)" "$dir/bin/iptables"
      ln -sf "$(command -v ip6tables-legacy)" "$dir/bin/ip6tables"
      export PATH=$dir/bin:$PATH
    elif [[ ${why,,} =~ storage.driver|graphdriver|overlay ]] && [[ ${flags[*]-} != *vfs* ]]; then
      say "dockerd failed ($why): trying again with the storage driver vfs (slow, but works anywhere)"
      flags+=(--storage-driver=vfs)
    elif [[ ${why,,} =~ iptables|nf_?tables ]] && [[ ${flags[*]-} != *--iptables* ]]; then
      say "dockerd failed ($why): trying again without iptables (containers will not reach other networks)"
      flags+=(--iptables=false --ip6tables=false)
    else
      break
    fi
  done
  rm -f "$pidfile"
  die "dockerd does not start: $why (all of it: $log)"
}

stop_pid() {   # PID: SIGTERM, then SIGKILL after 40 s; containers have 10 s of their own to end in
  local i
  kill "$1" 2>/dev/null || return 0
  for ((i = 0; i < 400; i++)); do alive "$1" || return 0; sleep 0.1; done
  kill -9 "$1" 2>/dev/null
}

ensure() {
  local version
  if command -v docker >/dev/null && version=$(answers) && [ -n "$version" ]; then
    say "docker $version answers already"
    return
  fi
  [ "$(id -u)" = 0 ] || die "no Docker engine answers on $socket, and installing one needs root"
  mkdir -p "$dir" || die "cannot make $dir"
  install_engine
  # The package's own start script may have started it by now.
  if version=$(answers) && [ -n "$version" ]; then say "docker $version runs, started by its package"; return; fi
  if systemd_runs; then start_by_systemd; else start_by_hand; fi
}

down() {
  local pid
  if pid=$(our_pid); then
    stop_pid "$pid"
    say "dockerd $pid stopped"
  else
    say "no dockerd of ours runs here"
  fi
  rm -f "$pidfile"
}

status() {
  local version pid
  version=$(answers) || die "no Docker engine answers on $socket"
  pid=$(our_pid) && say "docker $version, ours, pid $pid" || say "docker $version, not ours"
}

case ${1:-} in
  ensure) ensure ;;
  down) down ;;
  status) status ;;
  *) sed -n '2,12s/^# \{0,1\}//p' "$0"; exit 2 ;;
esac
