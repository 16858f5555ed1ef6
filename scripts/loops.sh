#!/usr/bin/env bash
# What more loops cost and gain: CPU per Gbit with one loop and with --loops, in turns for --rounds
# rounds; of one stream with --players, and of --streams streams with one player each. The server
# has as many CPUs as loops, the load has the last CPU of all.
#
# Promises: CPU per Gbit with --loops is at most --cost of that with one, as the median of the
# ratios of each round; and every player gets every frame.
#
# ratios.csv has the ratios. Plot: cost.svg by round.
set -euo pipefail
# shellcheck source=lib.sh
. "$(dirname "$0")/lib.sh"

flag loops 2 2 'Loops to compare with one.'
flag players 1000 20 'Players of the one stream.'
flag streams 300 10 'Streams of one player.'
flag kbps 1000 1000 'Bit rate of each stream.'
flag time 10 1 'Seconds of each row.'
flag rounds 5 1 'Rounds.'
flag cost 1.10 1000 'Most CPU per Gbit, one loop being 1.'
begin "$@"
own_columns=case,round

many=$loops
mapfile -t cpus < <(allowed_cpus)
[ -n "${flag_given[pin-load]+x}" ] || pin_load=${cpus[-1]}

row() { # SHAPE LOOPS ROUND, FLAGS OF THE LOAD
  local name=$1-$2
  loops=$2 pin_server='' on_round=$3
  shift 3
  choose_cpus
  start_server
  run_load "$name-$on_round" "$name,$on_round" --kbps "$kbps" --time "$time" --expect-no-gap "$@"
  must_be_good "$name-$on_round"
  echo "$name, round $on_round: $(of_load "$name-$on_round" cpu_ms_per_gbit) CPU-ms/Gbit, p99" \
    "$(of_load "$name-$on_round" latency_p99_ms) ms"
}

for round in $(seq "$rounds"); do
  for count in 1 "$many"; do
    row wide "$count" "$round" --players "$players"
    row deep "$count" "$round" --publishers "$streams" --players "$streams" --verify-every 10
  done
done

echo 'shape,loops,min,median,max,rounds' > "$out/ratios.csv"
for shape in wide deep; do
  read -r least middle most count < <(ratios cpu_ms_per_gbit "$shape-$many" "$shape-1")
  echo "$shape,$many,$least,$middle,$most,$count" >> "$out/ratios.csv"
  holds "$middle <= $cost" || broken "$shape: $many loops cost $middle of one, $cost allowed"
done
echo "CPU per Gbit with $many loops, divided by that with one (wide: one stream, deep: many):"
column -t -s , "$out/ratios.csv"
draw cost rows --x round --y cpu_ms_per_gbit --by case --title "CPU per Gbit: $kbps kbit/s"
verdict
