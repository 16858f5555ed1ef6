#!/usr/bin/env bash
# What a policy costs: latency and CPU of the same players with other flags of the server, in turns
# for --rounds rounds. A policy is flags of the server without dashes, such as merge-ms=40 or
# flush-ms=0,merge-ms=20; "default" is none.
#
# Promise: with each policy every player gets every frame, unharmed and in order.
#
# summary.csv has the median of each figure and policy. Plots: latency.svg, cpu.svg over policies.
set -euo pipefail
# shellcheck source=lib.sh
. "$(dirname "$0")/lib.sh"

flag policy '*' '*' 'A policy; may be repeated [default, flush-ms=0 and 100, merge-ms=10 to 100].'
flag players 500 20 'Players.'
flag kbps 1000 1000 'Bit rate of the stream.'
flag time 10 1 'Seconds of each row.'
flag rounds 3 1 'Rounds.'
begin "$@"
own_columns=policy,round

if [ -z "$policy" ]; then
  policy='default flush-ms=0 flush-ms=100 merge-ms=10 merge-ms=20 merge-ms=40 merge-ms=100'
  [ "$smoke" = 0 ] || policy='default flush-ms=0 merge-ms=20'
fi
for round in $(seq "$rounds"); do
  for name in $policy; do
    flags=()
    if [ "$name" != default ]; then
      for word in ${name//,/ }; do
        flags+=("--${word%%=*}" "${word#*=}")
      done
    fi
    start_server "${flags[@]}"
    own=${name//,/+}
    run_load "$own-$round" "$own,$round" --players "$players" --kbps "$kbps" --time "$time" \
      --expect-no-gap
    must_be_good "$own-$round"
  done
done

figures='latency_p50_ms latency_p99_ms latency_p999_ms audio_p99_ms server_cpu_percent'
figures+=' load_cpu_percent'
echo "policy,${figures// /,}" > "$out/summary.csv"
for name in $policy; do
  own=${name//,/+}
  line=$own
  for figure in $figures; do
    line+=,$(median_of "$figure" "$own")
  done
  echo "$line" >> "$out/summary.csv"
done
column -t -s , "$out/summary.csv"
where="$players players of $kbps kbit/s"
draw latency summary --x policy --y latency_p50_ms,latency_p99_ms,latency_p999_ms \
  --title "Latency by policy: $where"
draw cpu summary --x policy --y server_cpu_percent,load_cpu_percent --title "CPU by policy: $where"
verdict
