#!/bin/bash
# Simulated edge hosts on one machine. Each has a network namespace, a host name and a Docker engine (dockerd and
# containerd) of its own; a bridge joins them. Needs root, Docker's and Debian's tools, about 150 MB of memory per host.
#
#   hosts.sh up K             hosts 1..K run and reach each other; adds to a smaller lab, repairs one that died half-way
#   hosts.sh down             everything that was ever made here is gone
#   hosts.sh sh I CMD...      run CMD on host I (0: the data centre, where a master belongs)
#   hosts.sh docker I ARGS... the docker client against host I
#   hosts.sh load I IMAGE...  copy images of this machine's engine to host I ("all": to every host)
#   hosts.sh cut I | heal I   pull host I's network cable, plug it in again
#   hosts.sh drop I PCT       host I loses PCT % of its packets, each way; 0 ends it
#   hosts.sh rate I KBIT      host I's link carries KBIT kbit/s, each way; 0 ends it
#   hosts.sh kill I           power cut: every process of host I dies at once, its network and /run are lost, its disk stays
#   hosts.sh stop I           end host I's engine cleanly: containers get SIGTERM and their ten seconds
#   hosts.sh start I          after kill or stop: host I runs again
#   hosts.sh stat             memory of every engine process, and which hosts run
#
# Host I is 10.99.0.I, its containers are 10.244.I.0/24 (its bridge 10.244.I.1), and the data centre is 10.99.0.254.
# Its engine: $LAB/I/docker.sock, log: $LAB/I/log, disk: $LAB/I/data. Its namespace, as "ip netns" names it: $LABP + I.
#
# Environment: LAB     state folder, default ${TMPDIR:-/tmp}/wherry-lab
#              LABP    prefix of namespaces and cgroups, default wl; labs that differ in both can run side by side
#              LAB_IMAGES   images that up gives to every host, default wherry-test/busybox if it is here
#              LAB_DOCKERD  more flags for the engines, such as --live-restore; those of host I alone: the file $LAB/I/flags
set -u

lab=${LAB:-${TMPDIR:-/tmp}/wherry-lab}
prefix=${LABP:-wl}
underlay=10.99.0
pods=10.244
images=${LAB_IMAGES-wherry-test/busybox}

die() { echo "hosts.sh: $*" >&2; exit 1; }

# ---- facts -------------------------------------------------------------------------------------------------------

# Host numbers, from the state folder and, in case that was deleted, from the namespaces that are left.
hosts() {
  { ls "$lab" 2>/dev/null; ls /run/netns 2>/dev/null | sed -n "s/^$prefix\([0-9]*\)$/\1/p"; } | grep -E '^[1-9][0-9]*$' | sort -nu
}

known() { [ -d "$lab/$1" ] || die "no host $1 here: hosts.sh up"; }

netns() { echo "/run/netns/$prefix$1"; }

# A namespace that is really there: after a crash or a reboot its file may be a plain one.
netns_alive() { nsenter --net="$(netns "$1")" true 2>/dev/null; }

# Sets $enter to the command that runs another one on a host. Not "ip netns exec": that mounts /sys anew, and cgroup v1
# disappears with it.
set_enter() {
  enter=(nsenter --net="$(netns "$1")")
  ! mountpoint -q "$lab/$1/uts" 2>/dev/null || enter+=(--uts="$lab/$1/uts")
  enter+=(--)
}
on() { local enter; set_enter "$1"; shift; "${enter[@]}" "$@"; }

engine() { local i=$1; shift; docker -H "unix://$lab/$i/docker.sock" "$@"; }
answers() { timeout 5 docker -H "unix://$lab/$1/docker.sock" version >/dev/null 2>&1; }

# The cgroups of a host's containers: one in each hierarchy of v1, or one in all of v2.
cgroups() { ls -d "/sys/fs/cgroup/$prefix$1" /sys/fs/cgroup/*/"$prefix$1" 2>/dev/null; }

# The pid of a host's dockerd, from its own pid file, unless that number means another program by now.
dockerd_pid() {
  local pid
  pid=$(cat "$lab/$1/pid" 2>/dev/null) && grep -qsaF "$lab/$1/docker.sock" "/proc/$pid/cmdline" && echo "$pid"   # a zombie has no cmdline
}

# The engine's processes, by the paths in their arguments: found even when their namespace has lost its name. The same
# path in another root folder is another lab.
engine_processes() {
  local pid
  grep -lsaF -- "$lab/$1/" /proc/[0-9]*/cmdline 2>/dev/null | cut -d/ -f3 | while read -r pid; do
    [ "/proc/$pid/root" -ef / ] && case $(readlink "/proc/$pid/exe") in */dockerd | */containerd | */containerd-shim* | */docker-proxy) echo "$pid" ;; esac
  done
}

# Every process of a host: its engine, what else is in its network namespace (whatever was started by "sh"), and what
# is in its cgroups (containers). This script and its callers are never among them.
processes() {
  local own=" " pid=$BASHPID
  while [ "${pid:-0}" -gt 1 ]; do own+="$pid "; pid=$(awk '/^PPid:/{print $2}' "/proc/$pid/status" 2>/dev/null); done
  {
    engine_processes "$1"
    netns_alive "$1" && ip netns pids "$prefix$1" 2>/dev/null
    cgroups "$1" | while read -r group; do find "$group" -name cgroup.procs -exec cat {} + 2>/dev/null; done
  } | sort -nu | while read -r pid; do [[ $own == *" $pid "* ]] || echo "$pid"; done
}

# wait_until SECONDS CMD...: 0 as soon as CMD succeeds
wait_until() {
  local until=$((SECONDS + $1)); shift
  until "$@"; do [ $SECONDS -lt $until ] || return 1; sleep 0.1; done
}

# ---- network -----------------------------------------------------------------------------------------------------

# Each step asks whether it is done already, so that a half-made network gets completed.
make_netns() {
  netns_alive "$1" || { ip netns del "$prefix$1" 2>/dev/null; rm -f "$(netns "$1")"; ip netns add "$prefix$1" || die "cannot make a network namespace"; }
  ip -n "$prefix$1" link set lo up
}

make_data_centre() {
  make_netns 0
  ip -n "${prefix}0" link show br0 >/dev/null 2>&1 || ip -n "${prefix}0" link add br0 type bridge || die "cannot make a bridge"
  ip -n "${prefix}0" addr replace $underlay.254/24 dev br0
  ip -n "${prefix}0" link set br0 up
}

make_link() {
  local i=$1
  make_netns "$i"
  if ! ip -n "$prefix$i" link show eth0 >/dev/null 2>&1; then
    ip -n "${prefix}0" link del "v$i" 2>/dev/null
    ip -n "${prefix}0" link add "v$i" type veth peer name eth0 netns "$prefix$i" || die "host $i: cannot make its link"
    ip -n "${prefix}0" link set "v$i" master br0 up
  fi
  ip -n "$prefix$i" addr replace $underlay.$i/24 dev eth0
  ip -n "$prefix$i" link set eth0 up
  ip -n "$prefix$i" route replace default via $underlay.254
  ip -n "${prefix}0" route replace $pods.$i.0/24 via $underlay.$i
}

# Host-gw routing: every host knows where every other host's containers are.
make_routes() {
  local i j
  for i in $(hosts); do
    for j in $(hosts); do
      [ "$i" = "$j" ] || ! netns_alive "$i" || ip -n "$prefix$i" route replace $pods.$j.0/24 via $underlay.$j
    done
  done
}

# Docker drops what it forwards from elsewhere; DOCKER-USER is the chain that it leaves to others.
open_firewall() {
  local i=$1 from
  for from in $pods.0.0/16 $underlay.0/24; do
    on "$i" iptables -w 10 -C DOCKER-USER -s $from -j ACCEPT 2>/dev/null || on "$i" iptables -w 10 -I DOCKER-USER -s $from -j ACCEPT
  done
  # Containers keep their addresses among each other and borrow the host's towards anything else.
  local nat=(-s "$pods.$i.0/24" ! -d "$pods.0.0/16" -o eth0 -j MASQUERADE)
  on "$i" iptables -w 10 -t nat -C POSTROUTING "${nat[@]}" 2>/dev/null || on "$i" iptables -w 10 -t nat -A POSTROUTING "${nat[@]}"
}

# ---- one host ----------------------------------------------------------------------------------------------------

start_engine() {
  local i=$1 d=$lab/$1 flags=()
  # One that is still on its way down, or up.
  if dockerd_pid "$i" >/dev/null; then wait_until 60 not_running_or_answers "$i"; fi
  answers "$i" && return
  # A containerd whose dockerd was killed ends with it, but where nobody collects dead processes the next dockerd takes
  # the zombie for a living one, and waits for it in vain.
  rm -f "$d/exec/containerd/containerd.pid"
  if ! mountpoint -q "$d/uts"; then
    : >"$d/uts"
    unshare --uts="$d/uts" sh -c "echo $prefix$i >/proc/sys/kernel/hostname" || die "host $i: cannot give it a host name"
  fi
  rm -f "$d/pid" "$d/docker.sock"
  echo '{}' >"$d/daemon.json"   # not this machine's /etc/docker/daemon.json
  # From Docker 28 on, other hosts reach containers only where this says so.
  dockerd --help 2>/dev/null | grep -q -- --allow-direct-routing && flags+=(--allow-direct-routing)
  local enter; set_enter "$i"
  "${enter[@]}" setsid dockerd -H "unix://$d/docker.sock" -p "$d/pid" --config-file "$d/daemon.json" \
    --data-root "$d/data" --exec-root "$d/exec" --bip "$pods.$i.1/24" --ip-masq=false \
    --cgroup-parent "/$prefix$i" --exec-opt native.cgroupdriver=cgroupfs \
    ${flags[@]+"${flags[@]}"} ${LAB_DOCKERD:-} $(cat "$d/flags" 2>/dev/null) >>"$d/log" 2>&1 </dev/null &
}

not_running_or_answers() { ! dockerd_pid "$1" >/dev/null || answers "$1"; }

engine_ready() {
  wait_until 60 answers "$1" || { tail -3 "$lab/$1/log" >&2; die "host $1: its engine does not answer after 60 s (log: $lab/$1/log)"; }
}

# An engine whose namespace has lost its name is out of reach for good: such a host is switched off first.
drop_stray_engine() {
  local pid
  pid=$(dockerd_pid "$1") || return 0
  [ "$(stat -Lc %i "/proc/$pid/ns/net")" = "$(stat -Lc %i "$(netns "$1")" 2>/dev/null)" ] || power_cut "$1"
}

start() {
  drop_stray_engine "$1"
  make_link "$1"
  start_engine "$1"
  engine_ready "$1"
  open_firewall "$1"
  make_routes
}

stop() {
  local pid
  pid=$(dockerd_pid "$1") || return 0
  kill "$pid"
  wait_until 120 test ! -d "/proc/$pid" || die "host $1: dockerd $pid does not end"
  rm -f "$lab/$1/pid"
}

all_dead() {
  local pids; pids=$(processes "$1")
  [ -z "$pids" ] && return
  # shellcheck disable=SC2086
  kill -9 $pids 2>/dev/null
  return 1
}

unmount_below() {
  awk -v at="$1/" 'index($2, at) == 1 { print $2 }' /proc/mounts | sort -r | while read -r mount; do umount -l "$mount"; done
}

remove_cgroups() {
  cgroups "$1" | while read -r group; do
    wait_until 5 remove_cgroup "$group" || echo "hosts.sh: cgroup $group cannot be removed" >&2
  done
}
remove_cgroup() { find "$1" -depth -type d -exec rmdir {} \; 2>/dev/null; [ ! -d "$1" ]; }

power_cut() {
  local i=$1
  # A shim that outlives its engine for a moment may start a process more: look again until none is left.
  wait_until 20 all_dead "$i" || die "host $i: processes $(processes "$i" | tr '\n' ' ')do not die"
  unmount_below "$lab/$i"
  rm -rf --one-file-system "$lab/$i/exec" "$lab/$i/pid" "$lab/$i/docker.sock"
  ip netns del "$prefix$i" 2>/dev/null
  # The kernel lets go of the namespace a moment later, and of the cable with it.
  wait_until 10 eval "! ip -n ${prefix}0 link show v$i >/dev/null 2>&1" || ip -n "${prefix}0" link del "v$i" 2>/dev/null
  remove_cgroups "$i"
}

# ---- the lab -----------------------------------------------------------------------------------------------------

check_machine() {
  local missing=() here; here=$(dirname "$(readlink -f "$0")")
  [ "$(id -u)" = 0 ] || die "network namespaces need root"
  [[ $lab == /* ]] || die "LAB must be an absolute path: $lab"
  # A socket's path has 107 characters at most, and containerd's are the longest here.
  [ ${#lab} -le 60 ] || die "LAB is too long for sockets, 60 characters at most: $lab"
  [[ $prefix =~ ^([a-z0-9]{0,6}[a-z])$ ]] || die "LABP must be at most 7 lower-case letters and digits and end in a letter: $prefix"
  command -v ip >/dev/null && command -v tc >/dev/null || missing+=(iproute2)
  command -v nsenter >/dev/null || missing+=(util-linux)
  [ ${#missing[@]} = 0 ] || DEBIAN_FRONTEND=noninteractive timeout 300 apt-get -qq install -y "${missing[@]}" >/dev/null 2>&1 ||
    die "please install: ${missing[*]}"
  "$here/../../manifests/demo/docker.sh" ensure >/dev/null || exit 1
}

up() {
  local k=$1 i image
  [[ $k =~ ^[0-9]+$ ]] && [ "$k" -ge 1 ] && [ "$k" -le 200 ] || die "up K: between 1 and 200 hosts"
  check_machine
  mkdir -p "$lab"
  [ "$(cat "$lab/prefix" 2>/dev/null || echo "$prefix")" = "$prefix" ] || die "$lab belongs to the lab with LABP=$(cat "$lab/prefix")"
  echo "$prefix" >"$lab/prefix"
  make_data_centre
  for i in $(seq "$k"); do mkdir -p "$lab/$i"; done
  for i in $(hosts); do drop_stray_engine "$i"; make_link "$i"; start_engine "$i"; done
  for i in $(hosts); do
    engine_ready "$i"
    open_firewall "$i"
    for image in $images; do ! docker image inspect "$image" >/dev/null 2>&1 || load "$i" "$image"; done
  done
  make_routes
}

load() {   # I IMAGE...: those that host I does not have
  local i=$1 image; shift
  for image; do
    [ "$(docker image inspect -f '{{.Id}}' "$image")" = "$(engine "$i" image inspect -f '{{.Id}}' "$image" 2>/dev/null)" ] && continue
    timeout 300 docker save "$image" | timeout 300 docker -H "unix://$lab/$i/docker.sock" load -q >/dev/null || die "host $i: cannot load $image"
  done
}

down() {
  local i
  for i in $(hosts); do power_cut "$i" & done
  wait
  if netns_alive 0; then wait_until 20 all_dead 0 || die "processes $(processes 0 | tr '\n' ' ')in the data centre do not die"; fi
  ip netns del "${prefix}0" 2>/dev/null
  # Nothing may be mounted in there when it gets deleted.
  unmount_below "$lab"
  ! grep -q " $lab/" /proc/mounts || die "$lab: something is still mounted below it"
  rm -rf --one-file-system "${lab:?}"
}

# drop: in a chain of its own in mangle, which sees what the host itself gets and what it forwards to containers.
drop() {
  local i=$1 pct=$2 chain=LAB-DROP
  [[ $pct =~ ^([0-9]|[1-9][0-9]|100)$ ]] || die "drop I PCT: a whole number from 0 to 100"
  on "$i" iptables -w 10 -t mangle -N $chain 2>/dev/null && {
    on "$i" iptables -w 10 -t mangle -I PREROUTING -i eth0 -j $chain
    on "$i" iptables -w 10 -t mangle -I POSTROUTING -o eth0 -j $chain
  }
  on "$i" iptables -w 10 -t mangle -F $chain
  [ "$pct" = 0 ] || on "$i" iptables -w 10 -t mangle -A $chain -m statistic --mode random --probability "$(awk "BEGIN { print $pct / 100 }")" -j DROP
}

rate() {
  local i=$1 kbit=$2 end
  [[ $kbit =~ ^[0-9]+$ ]] || die "rate I KBIT: a whole number"
  for end in "0 v$i" "$i eth0"; do
    set -- $end
    if [ "$kbit" = 0 ]; then on "$1" tc qdisc del dev "$2" root 2>/dev/null
    else on "$1" tc qdisc replace dev "$2" root tbf rate "${kbit}kbit" burst 16kb latency 400ms || die "host $i: tc refuses"; fi
  done
}

report() {
  local i pid name
  for i in $(hosts); do
    if ! answers "$i"; then echo "host $i: off"; continue; fi
    echo "host $i: $underlay.$i, $(engine "$i" ps -q | wc -l) containers, link $(ip -n "${prefix}0" -o link show "v$i" | grep -q 'state UP' && echo up || echo cut)"
    for pid in $(processes "$i"); do
      name=$(cat "/proc/$pid/comm" 2>/dev/null) || continue
      awk -v name="$name" -v pid="$pid" '/^Rss:/{rss=$2} /^Pss:/{pss=$2} END{printf "  %-16s %8d  rss %7d kB  pss %7d kB\n", name, pid, rss, pss}' "/proc/$pid/smaps_rollup" 2>/dev/null
    done
  done
}

usage() { sed -n '2,/^set/s/^# \{0,1\}//p' "$0"; exit 2; }

command=${1:-}; shift || usage
case $command in
  up) up "${1:-3}" ;;
  down) down ;;
  stat) report ;;
  sh) i=${1:?}; shift; netns_alive "$i" || die "no host $i runs here"
    set_enter "$i"; exec "${enter[@]}" "$@" ;;   # exec: a signal to this script then reaches CMD itself
  docker) known "${1:?}"; i=$1; shift; exec docker -H "unix://$lab/$i/docker.sock" "$@" ;;
  load) i=${1:?}; shift; [ "$i" = all ] && i=$(hosts); for i in $i; do known "$i"; load "$i" "$@"; done ;;
  cut) known "${1:?}"; ip -n "${prefix}0" link set "v$1" down ;;
  heal) known "${1:?}"; ip -n "${prefix}0" link set "v$1" up ;;
  drop | rate) known "${1:?}"; $command "$1" "${2:?}" ;;
  kill) known "${1:?}"; power_cut "$1" ;;
  stop | start) known "${1:?}"; $command "$1" ;;
  *) usage ;;
esac
