#!/usr/bin/env bash
# A server with --memory 256M beside hostile and slow peers that fill its memory in another way in
# each row, while a good publisher with 10 players goes on.
#
# Promises: never more is charged than the budget has, nor less than --fill percent of it; the
# process is never larger than 1.25 x 256 MiB; no good player has a gap or a wrong byte.
#
# Plot: memory.svg.
set -euo pipefail
# shellcheck source=lib.sh
. "$(dirname "$0")/lib.sh"

flag time 60 1 'Seconds of each row.'
flag loops 2 2 'Loops of the server.'
flag fill 70 0 'Least percent of the budget that each row fills.'
begin "$@"
own_columns=peers,peak_bytes,budget_bytes,peak_percent,rss_max_kib,closed_for_memory,refused
cargo build --release --locked --quiet --example hostile

memory=$((256 * 1024 * 1024))

# One row: $1 is its name, then pairs of kind and number of peers.
row() {
  local name=$1 stats peak budget rss_kib percent total hostile=()
  shift
  # Few rings and connections: most of the memory is variable. Blocked peers stay.
  start_server --memory 256M --rings 64 --mailbox 1024 --max-connections 4000 \
    --blocked-timeout 300 --publisher-timeout 300 --log warn
  # The good ones come first: at 95 % nobody else may.
  start_load "$name" --players 10 --verify-every 1 --kbps 1000 --time "$((time + 1))" \
    --expect-no-gap
  while [ $# -gt 0 ]; do
    "${on_load_cpus[@]}" nice -n 10 timeout "$((time + 20))" "$binaries/examples/hostile" \
      "$server_address" "$1" "$time" "$2" 2> "$out/$name.$1.txt" &
    hostile+=($!)
    pids+=($!)
    shift 2
  done
  pause "$((time > 1 ? time - 1 : time))"
  stats=$(statistics)
  rss_kib=$(resident VmHWM)
  peak=$(figure memory_peak <<< "$stats") budget=$(figure memory_max <<< "$stats")
  percent=$((peak * 100 / budget))
  total=${stats##*\"total\":}
  finish_load "$name" "$name" "$peak" "$budget" "$percent" "$rss_kib" \
    "$(figure out_of_memory <<< "$total")" "$(figure refused <<< "$total")"
  wait "${hostile[@]}" || true
  pids=()

  must_be_good "$name"
  [ "$peak" -le "$budget" ] || broken "$name: $peak of $budget bytes charged"
  [ "$percent" -ge "$fill" ] || broken "$name: only $percent % of the budget were reached"
  [ $((rss_kib * 1024)) -le $((memory * 5 / 4)) ] || broken "$name: $rss_kib KiB resident"
}

row huge-messages huge 64
row hoarded-names names 200
row stuck-players stuck 400
row unread-replies replies 2500
row tiny-frames tiny 40
row everything huge 32 names 60 stuck 100 replies 600 tiny 8 handshakes 300
table peers frames_sent gaps corrupt verified_messages latency_p50_ms latency_p99_ms \
  latency_max_ms peak_percent rss_max_kib closed_for_memory refused
draw memory rows --x peers --y rss_max_kib --y2 peak_percent \
  --title 'Most memory that was resident, and charged of the budget'
verdict
