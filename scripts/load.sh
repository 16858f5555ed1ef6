#!/usr/bin/env bash
# How many players can it hold: one curve, from --from players of one stream upwards. It ends at
# --to, where the machine has no more files or ports, where the server's loops are busy (> 95 % CPU),
# or where the load generator is (> 90 %: its row is invalid).
#
# Where files or --to end it, one more line says at how many players the loops would be busy at the
# cost of the last row: computed, not measured.
#
# Promise: up to there every player gets every frame, unharmed and in order, and none is refused or
# closed.
#
# Plots: cpu.svg, latency.svg, throughput.svg over players.
set -euo pipefail
# shellcheck source=lib.sh
. "$(dirname "$0")/lib.sh"

flag from 100 20 'Players of the first row.'
flag to 0 40 'Most players; 0: what files and ports allow.'
flag kbps 1000 1000 'Bit rate of the stream.'
flag time 10 1 'Seconds of each row.'
flag drain-ms 30 30 'How often players that are not verified read.'
flag verified 100 10 'Players that check every byte and take latencies.'
flag connect-rate 2000 2000 'Connections opened a second.'
flag settle 2 0 'Seconds between rows.'
begin "$@"
own_columns=server,loops

# What one machine can hold: 256 files are for other things, 20 000 ports of each source address.
files=$(($(ulimit -Hn) - 256))
most="$to players, as --to asked"
if [ "$to" = 0 ] || [ "$to" -gt "$files" ]; then
  to=$files
  most="$to players, the most that the hard limit of open files (ulimit -Hn) allows"
fi

start_server
steps=$(for power in 1 10 100 1000 10000; do
  for step in 10 15 20 30 40 50 70; do echo $((step * power)); done
done)
last=0 limit='' computed=''
for players in $from $(awk -v from="$from" '$1 > from' <<< "$steps") "$to"; do
  if [ "$players" -gt "$to" ] || [ "$players" -le "$last" ]; then continue; fi
  last=$players
  row=players-$players
  run_load "$row" "millrace,$loops" --players "$players" --kbps "$kbps" --time "$time" \
    --drain-ms "$drain_ms" --verify-every $(((players + verified - 1) / verified)) \
    --sources $((players / 20000 + 1)) --connect-rate "$connect_rate" --expect-no-gap
  cpu=$(of_load "$row" server_cpu_percent)
  echo "$players players: server $cpu %, load $(of_load "$row" load_cpu_percent) % CPU, p50/p99" \
    "$(of_load "$row" latency_p50_ms)/$(of_load "$row" latency_p99_ms) ms," \
    "$(of_load "$row" mbps) Mbit/s"
  if [ "$(of_load "$row" valid)" != true ]; then
    limit="$players players: the load generator had not the time; the row is invalid"
    break
  fi
  if holds "$cpu > 95 * $loops"; then
    limit="$players players: the server's loops are busy ($cpu % CPU)"
    break
  fi
  must_be_good "$row"
  if [ "$load_status" != 0 ]; then
    limit="$players players: a promise was broken"
    break
  fi
  pause "$settle"
done
if [ -z "$limit" ]; then
  limit=$most
  if holds "$cpu > 0"; then
    computed="computed, not measured: at this cost the server's loops would be busy (95 % CPU) at"
    computed+=" about $(calculate "int($last * 95 * $loops / $cpu / 100 + 0.5) * 100") players"
  fi
fi
note "limit: $limit"
echo "the curve ends at $limit"
[ -z "$computed" ] || { note "$computed"; echo "$computed"; }

where="$kbps kbit/s each, loops: $loops"
draw cpu rows --x players --y server_cpu_percent,load_cpu_percent --title "CPU: $where"
draw latency rows --x players --y latency_p50_ms,latency_p99_ms --title "Latency: $where"
draw throughput rows --x players --y mbps --y2 cpu_ms_per_gbit --title "Throughput: $where"
verdict
