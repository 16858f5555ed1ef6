#!/usr/bin/env bash
# 1 publisher and 2 000 players at 1 Mb/s over two loops for SECONDS (60), then the same beside 500
# players that never read. Every player counts messages and sees gaps, every 20th checks every
# byte. Fails if there is a gap, a wrong byte, a first frame that is no keyframe, a skip for a
# player that reads, or more memory charged than the budget has.
set -euo pipefail
seconds=${1:-60}
# shellcheck source=scripts/prove-lib.sh
. "$(dirname "$0")/prove-lib.sh"

players=2000
table=$work/table
printf '%s\n' 'players never-read frames gaps corrupt/verified no-keyframe-first skipping-readers p50/p99/max-ms charged-peak/budget-MiB RSS-MiB' > "$table"

# One row with $1 players that never read.
row() {
  local stuck=$1 out=$work/load.$1 status=0 stats line
  # Without the timeout the ones that never read stay for the whole row.
  start_server --loops 2 --blocked-timeout 0
  start_load "$out" --players "$players" --stuck "$stuck" --verify-every 20 --expect-no-gap --kbps 1000 \
    --time "$seconds"
  sleep "$((seconds > 1 ? seconds - 1 : seconds))"
  stats=$(statistics)
  wait_for_load || status=$?
  line=$(cat "$out.json") || { cat "$out"; broken "the load gave no result"; return; }
  load() { figure "$1" <<< "$line"; }
  server() { figure "$1" <<< "$stats"; }

  # Players in all, and those that were moved to a newer keyframe although they read: the others
  # got no more than what fits into their socket.
  local total readers
  read -r total readers < <(awk -v 'RS="session":' -F '[:,}]' '/"skipped_frames"/ {
      for (field = 1; field < NF; field++) {
        if ($field == "\"bytes_out\"") bytes[NR] = $(field + 1)
        if ($field == "\"skips\"") skips[NR] = $(field + 1)
      }
      if (bytes[NR] > most) most = bytes[NR]
    }
    END {
      for (player in bytes) {
        total++
        readers += skips[player] > 0 && bytes[player] > most / 2
      }
      print total + 0, readers + 0
    }' <<< "$stats")
  local mib=$((1024 * 1024)) peak budget
  peak=$(server memory_peak) budget=$(server memory_max)

  printf '%s ' "$(load joined)" "$stuck" "$(load frames_sent)" "$(load gaps)" \
    "$(load corrupt)/$(load verified_messages)" "$(load bad_starts)" "$readers" \
    "$(load latency_p50_ms)/$(load latency_p99_ms)/$(load latency_max_ms)" \
    "$(awk "BEGIN { printf \"%.1f/%.0f\", $peak / $mib, $budget / $mib }")" \
    "$(($(resident VmHWM) / 1024))" >> "$table"
  echo >> "$table"

  [ "$status" -eq 0 ] || broken "$stuck beside: $(complaints "$out")"
  [ "$total" -eq $((players + stuck)) ] || broken "$stuck beside: $total players at the end"
  [ "$readers" -eq 0 ] || broken "$stuck beside: $readers readers skipped frames"
  [ "$peak" -le "$budget" ] || broken "$stuck beside: $peak of $budget bytes charged"
}

row 0
row 500
column -t "$table"
verdict
