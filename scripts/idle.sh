#!/usr/bin/env bash
# What idle connections and players take: wake-ups and memory of a server with no connection, with
# --connections that did connect and then nothing, and with --players players of a thin stream.
#
# A player's bytes are the slope from a fifth of --players to all of them, on a server each: the
# stream's log and what a loop takes for its first players are in both, and do not count.
#
# Promises: no loop wakes more than once a second on an idle server; an idle connection and a
# player take at most --bytes of resident memory each; none of them is lost.
#
# Plot: memory.svg.
set -euo pipefail
# shellcheck source=lib.sh
. "$(dirname "$0")/lib.sh"

flag connections 10000 100 'Idle connections.'
flag players 5000 50 'Players.'
flag kbps 100 100 'Bit rate of their stream.'
flag time 20 1 'Seconds that are measured.'
flag bytes 1024 100000 'Most bytes of one.'
flag sources 4 2 'Source addresses.'
begin "$@"
own_columns=who,count,wakeups_most,rss_few_kib,rss_many_kib,bytes_each

# How often each loop's thread has gone to sleep, as the kernel counts it, a line each.
wakeups() {
  local loop
  for loop in $(seq 0 $((loops - 1))); do
    awk -v "name=loop-$loop" '/^Name:/ { own = $2 == name }
      own && /^voluntary_ctxt_switches:/ { print $2 }' "/proc/$server_pid/task/"*/status
  done
}

# Measures the server as it is; sets most (wake-ups of the busiest loop) and rss_kib.
measure() {
  local before after loop=0 woken
  before=$(wakeups)
  pause "$time"
  after=$(wakeups)
  rss_kib=$(resident VmRSS)
  most=0
  for woken in $(paste <(echo "$after") <(echo "$before") | awk '{ print $1 - $2 }'); do
    [ "$woken" -le "$most" ] || most=$woken
    loop=$((loop + 1))
  done
  [ "$loop" -eq "$loops" ] || broken "$loop of $loops loops were measured"
}

must_sleep() { # WHO
  [ "$most" -le "$time" ] || broken "a loop woke $most times in $time s with $1"
}

# Holds the figures of $1 against --bytes; $2 is how many of them there are more.
judge() { # WHO COUNT RSS-FEW RSS-MANY
  each=$((($4 - $3) * 1024 / $2))
  echo "$1: $each bytes of resident memory each, $bytes allowed"
  [ "$each" -le "$bytes" ] || broken "$each bytes for each of the $1"
}

# They must not time out while they are counted.
start_server --idle-timeout "$((2 * time + 300))"
pause 1
measure
must_sleep 'no connection'
empty_kib=$rss_kib
start_load idle --idle "$connections" --sources "$sources" --connect-rate 2000 --time "$((time + 4))"
pause 1
measure
must_sleep "$connections idle connections"
held=$(statistics | grep -o '"total":.*' | figure connections)
[ "$held" -eq "$connections" ] || broken "$held connections instead of $connections"
judge 'idle connections' "$connections" "$empty_kib" "$rss_kib"
finish_load idle idle "$connections" "$most" "$empty_kib" "$rss_kib" "$each"
must_be_good idle

few=$((players / 5))
players_row() { # COUNT
  start_server
  start_load "players-$1" --players "$1" --kbps "$kbps" --sources "$sources" --connect-rate 2000 \
    --time "$((time + 2))" --expect-no-gap
  measure
}
players_row "$few"
few_kib=$rss_kib
finish_load "players-$few" few-players "$few" "$most" '' "$rss_kib" ''
must_be_good "players-$few"
players_row "$players"
judge players $((players - few)) "$few_kib" "$rss_kib"
finish_load "players-$players" players "$players" "$most" "$few_kib" "$rss_kib" "$each"
must_be_good "players-$players"

table who count wakeups_most rss_few_kib rss_many_kib bytes_each server_cpu_percent
draw memory rows --x who --y rss_few_kib,rss_many_kib --title 'Resident memory with few and with all'
verdict
