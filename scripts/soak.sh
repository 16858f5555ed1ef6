#!/usr/bin/env bash
# Hours under a mixed load: --players that stay, --joins joins a second, and a second stream whose
# publisher comes back again and again with --guests players. The server's resident memory is sampled
# every --sample seconds.
#
# Promises: no frame is missed, no join fails, every return succeeds; and memory is flat: the slope
# of the samples behind the first --warm-up percent of the time, by least squares, is at most
# --slope KiB an hour.
#
# samples.csv has the samples. Plot: memory.svg.
set -euo pipefail
# shellcheck source=lib.sh
. "$(dirname "$0")/lib.sh"

flag minutes 60 0.1 'How long.'
flag players 300 20 'Players that stay.'
flag joins 20 10 'Joins a second.'
flag guests 50 5 'Players of the stream that comes back.'
flag visit 20 1 'Seconds of each publisher of that stream.'
flag kbps 1000 1000 'Bit rate of the streams.'
flag sample 5 1 'Seconds between samples.'
flag warm-up 20 20 'Percent of the time whose samples do not count.'
flag slope 1024 1000000000 'Most growth, KiB an hour.'
begin "$@"
own_columns=who,visit

# Samples until it is ended: a process of its own.
sample_memory() {
  local begun=$EPOCHREALTIME sleeper=
  trap 'kill "$sleeper" 2>/dev/null; exit' TERM
  echo 'minutes,rss_kib,threads' > "$out/samples.csv"
  while kill -0 "$server_pid" 2>/dev/null; do
    echo "$(calculate "($EPOCHREALTIME - $begun) / 60" 4),$(resident VmRSS),$(resident Threads)"
    sleep "$sample" &
    sleeper=$!
    wait "$sleeper"
  done >> "$out/samples.csv"
}

start_server
start_load long --stream long --players "$players" --churn "$joins" --kbps "$kbps" --sources 4 \
  --time "$(calculate "$minutes * 60")" --expect-no-gap
long_pid=$load_pid
pids+=("$long_pid")
sample_memory &
sampler_pid=$!
pids+=("$sampler_pid")

visits=0
while kill -0 "$long_pid" 2>/dev/null; do
  visits=$((visits + 1))
  run_load "visit-$visits" "visit,$visits" --stream visits --players "$guests" --kbps "$kbps" \
    --time "$visit" --expect-no-gap
  must_be_good "visit-$visits"
done
load_pid=$long_pid
finish_load long long 0
must_be_good long
failed=$(of_load long churn_failed)
[ "$failed" = 0 ] || broken "$failed joins failed"
end_process "$sampler_pid"
pids=()

# Slope, KiB an hour, and the size at its two ends.
read -r slope_kib first_kib last_kib count < <(awk -F , -v "warm_up=$warm_up" '
  NR > 1 && $2 != "" { x[++n] = $1 / 60; y[n] = $2 }
  END {
    for (i = 1; i <= n; i++) if (x[i] >= x[n] * warm_up / 100) {
      count++; sx += x[i]; sy += y[i]; sxx += x[i] * x[i]; sxy += x[i] * y[i]
    }
    below = count * sxx - sx * sx
    slope = below > 0 ? (count * sxy - sx * sy) / below : 0
    base = count ? (sy - slope * sx) / count : 0
    printf "%.1f %.0f %.0f %d\n", slope, base + slope * x[n] * warm_up / 100, base + slope * x[n], count
  }' "$out/samples.csv")
echo "$visits visits, $(of_load long churn_joins) joins, $count samples: $slope_kib KiB an hour, from" \
  "$first_kib to $last_kib KiB"
[ "$count" -ge 3 ] || broken "only $count samples"
holds "$slope_kib <= $slope" || broken "memory grows by $slope_kib KiB an hour, $slope allowed"
note "slope: $slope_kib KiB/h over $count samples"
draw memory samples --x minutes --y rss_kib --title "Resident memory: $slope_kib KiB an hour"
verdict
