#!/usr/bin/env bash
# Joins beside watchers: --players watchers alone, then the same with --joins joins a second (join,
# first keyframe, leave), in turns for --rounds rounds.
#
# Promises: no join fails, none of the watchers misses a frame, and the median of their p99 changes
# by less than --percent % or --ms ms.
#
# Plots: latency.svg (by round), joins.svg (join times).
set -euo pipefail
# shellcheck source=lib.sh
. "$(dirname "$0")/lib.sh"

flag players 500 20 'Watchers.'
flag joins 1000 20 'Joins a second.'
flag kbps 1000 1000 'Bit rate of the stream.'
flag gop-ms 2000 500 'Time between keyframes.'
flag time 30 2 'Seconds of each row.'
flag rounds 3 1 'Rounds.'
flag percent 25 1000 'Change of the p99 that is allowed, percent; or'
flag ms 5 1000 '... ms.'
flag sources 4 1 'Source addresses: ports rest for a minute after a join.'
begin "$@"
own_columns=beside,round

row() { # BESIDE ROUND FLAGS...
  local name=$1-$2 own=$1,$2
  shift 2
  run_load "$name" "$own" --players "$players" --kbps "$kbps" --gop-ms "$gop_ms" --time "$time" \
    --sources "$sources" --expect-no-gap "$@"
  must_be_good "$name"
}

start_server
for round in $(seq "$rounds"); do
  row nobody "$round"
  row joins "$round" --churn "$joins"
  failed=$(of_load "joins-$round" churn_failed) made=$(of_load "joins-$round" churn_joins)
  [ "$failed" = 0 ] || broken "joins-$round: $failed joins failed"
  holds "$made >= 0.9 * $joins * $time" ||
    broken "joins-$round: only $made joins in $time s instead of $joins a second"
done
table beside round players churn_joins churn_failed churn_p50_ms churn_p99_ms churn_max_ms \
  latency_p50_ms latency_p99_ms latency_p999_ms server_cpu_percent load_cpu_percent

alone=$(median_of latency_p99_ms nobody) beside=$(median_of latency_p99_ms joins)
echo "p99 of the watchers: $alone ms alone, $beside ms beside $joins joins a second:" \
  "$(calculate "($beside / $alone - 1) * 100" 1) %"
holds "$beside < $alone * (1 + $percent / 100) || $beside < $alone + $ms" ||
  broken "the p99 changes by more than $percent % and $ms ms"
where="$players watchers, $joins joins a second"
draw latency rows --x round --y latency_p50_ms,latency_p99_ms --by beside --title "$where"
draw joins rows --x round --y churn_p50_ms,churn_p99_ms,churn_max_ms --title "Joins beside $where"
verdict
