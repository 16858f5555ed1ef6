#!/usr/bin/env bash
# Players that never read: --players that do alone, then beside --stuck that do not, in turns for
# --rounds rounds. With --players 2000 --loops 2 --time 60 it is the long proof.
#
# Promises: no gap, no wrong byte, no first frame that is no keyframe and no skip for a player that
# reads; nobody is lost; never more memory charged than the budget has; the median of the p99 of
# those that read changes by less than --percent %.
#
# Plot: latency.svg by round.
set -euo pipefail
# shellcheck source=lib.sh
. "$(dirname "$0")/lib.sh"

flag players 500 20 'Players that read.'
flag stuck 500 10 'Players that never read.'
flag kbps 1000 1000 'Bit rate of the stream.'
flag time 20 2 'Seconds of each row.'
flag rounds 3 1 'Rounds.'
flag percent 20 1000 'Change of the p99 that is allowed.'
begin "$@"
own_columns=beside,round,total_players,skipping_readers,charged_peak_bytes,budget_bytes,rss_max_kib

# Players in all, and those that were moved to a newer keyframe although they read: the others got
# no more than what fits into their socket. Of the statistics on stdin.
players_and_skipping() {
  awk -v 'RS="session":' -F '[:,}]' '/"skipped_frames"/ {
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
    }'
}

row() { # BESIDE ROUND STUCK
  local name=$1-$2 stats total readers peak budget
  # Without the timeout the ones that never read stay for the whole row.
  start_server --blocked-timeout 0
  start_load "$name" --players "$players" --stuck "$3" --kbps "$kbps" --time "$time" --expect-no-gap
  pause "$(calculate "$time > 1 ? $time - 1 : $time / 2" 1)"
  stats=$(statistics)
  read -r total readers < <(players_and_skipping <<< "$stats")
  peak=$(figure memory_peak <<< "$stats") budget=$(figure memory_max <<< "$stats")
  finish_load "$name" "$1" "$2" "$total" "$readers" "$peak" "$budget" "$(resident VmHWM)"
  must_be_good "$name"
  [ "$total" -eq $((players + $3)) ] || broken "$name: $total players at the end"
  [ "$readers" -eq 0 ] || broken "$name: $readers readers skipped frames"
  [ "$peak" -le "$budget" ] || broken "$name: $peak of $budget bytes charged"
}

for round in $(seq "$rounds"); do
  row nobody "$round" 0
  row stuck "$round" "$stuck"
done
table beside round total_players frames_sent gaps corrupt verified_messages bad_starts \
  skipping_readers latency_p50_ms latency_p99_ms latency_max_ms charged_peak_bytes rss_max_kib

alone=$(median_of latency_p99_ms nobody) beside=$(median_of latency_p99_ms stuck)
echo "p99 of those that read: $alone ms alone, $beside ms beside $stuck that never read:" \
  "$(calculate "($beside / $alone - 1) * 100" 1) %"
holds "$beside < $alone * (1 + $percent / 100)" || broken "the p99 changes by more than $percent %"
draw latency rows --x round --y latency_p50_ms,latency_p99_ms --by beside \
  --title "$players players that read, $stuck that do not"
verdict
