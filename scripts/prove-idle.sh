#!/usr/bin/env bash
# Wake-ups and memory of an idle server over SECONDS (60): with no connection and with 10 000 that
# did connect and then nothing. Fails if a loop wakes more than once a second, or if a connection
# takes more than 1 KiB of resident memory.
set -euo pipefail
seconds=${1:-60}
# shellcheck source=scripts/prove-lib.sh
. "$(dirname "$0")/prove-lib.sh"

loops=2
connections=10000
bytes_max=1024
table=$work/table
echo 'connections loop wake-ups seconds RSS-KiB' > "$table"

# How often each loop's thread has gone to sleep, as the kernel counts it, a line each.
wakeups() {
  local loop
  for loop in $(seq 0 $((loops - 1))); do
    awk -v "name=loop-$loop" '/^Name:/ { own = $2 == name }
      own && /^voluntary_ctxt_switches:/ { print $2 }' "/proc/$server_pid/task/"*/status
  done
}

# Measures the server as it is, with $1 connections; sets rss_kib.
measure() {
  local before after loop=0 woken
  before=$(wakeups)
  sleep "$seconds"
  after=$(wakeups)
  rss_kib=$(resident VmRSS)
  for woken in $(paste <(echo "$after") <(echo "$before") | awk '{ print $1 - $2 }'); do
    echo "$1 $loop $woken $seconds $rss_kib" >> "$table"
    [ "$woken" -le "$seconds" ] || broken "loop $loop woke $woken times with $1 connections"
    loop=$((loop + 1))
  done
  [ "$loop" -eq "$loops" ] || broken "$loop of $loops loops were measured"
}

# They must not time out while they are counted.
start_server --loops "$loops" --idle-timeout "$((2 * seconds + 300))"
sleep 1
measure 0
rss_empty=$rss_kib

out=$work/load
start_load "$out" --idle "$connections" --sources 4 --connect-rate 2000 --time "$((seconds + 10))"
sleep 2
measure "$connections"
held=$(statistics | grep -o '"total":.*' | figure connections)
[ "$held" -eq "$connections" ] || broken "$held connections instead of $connections"
wait_for_load || broken "$(complaints "$out")"

column -t "$table"
bytes=$(((rss_kib - rss_empty) * 1024 / connections))
echo "$bytes bytes of resident memory per idle connection, $bytes_max allowed"
[ "$bytes" -le "$bytes_max" ] || broken "$bytes bytes per idle connection"
verdict
