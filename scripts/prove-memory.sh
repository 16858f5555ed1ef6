#!/usr/bin/env bash
# A server with --memory 256M beside hostile and slow peers that fill its memory in another way in
# each row, SECONDS (60) per row, while a good publisher with 10 players goes on. Fails if more is
# charged than the budget has or less than 70 % of it, if the process is larger than 1.25 x 256 MiB,
# or if a good player has a gap or a wrong byte.
set -euo pipefail
seconds=${1:-60}
# shellcheck source=scripts/prove-lib.sh
. "$(dirname "$0")/prove-lib.sh"
cargo build --release --locked --quiet --example hostile

mib=$((1024 * 1024))
memory=$((256 * mib))
table=$work/table
printf '%s\n' 'peers frames gaps corrupt/verified p50/p99/max-ms peak/budget-MiB peak-% RSS-MiB allowed closed-for-memory refused' > "$table"

# One row: $1 is its name, then pairs of kind and number of peers.
row() {
  local name=$1 out=$work/load.$1 status=0 stats line hostile=()
  shift
  # Few rings and connections: most of the memory is variable. Blocked peers stay.
  start_server --loops 2 --memory 256M --rings 64 --mailbox 1024 --max-connections 4000 \
    --blocked-timeout 300 --publisher-timeout 300 --log warn
  # The good ones come first: at 95 % nobody else may.
  start_load "$out" --players 10 --verify-every 1 --expect-no-gap --kbps 1000 --time "$((seconds + 1))"
  while [ $# -gt 0 ]; do
    nice -n 10 "${load_cpu[@]}" timeout "$((seconds + 20))" target/release/examples/hostile \
      "$server_address" "$1" "$seconds" "$2" 2> "$work/hostile.$1" &
    hostile+=($!)
    shift 2
  done
  sleep "$((seconds > 1 ? seconds - 1 : seconds))"
  stats=$(statistics)
  wait_for_load || status=$?
  wait "${hostile[@]}" || true
  line=$(cat "$out.json") || { cat "$out"; broken "the load gave no result"; return; }
  load() { figure "$1" <<< "$line"; }
  server() { figure "$1" <<< "$stats"; }
  all_loops() { sed 's/.*"total"://' <<< "$stats" | figure "$1"; }

  local peak budget rss percent
  peak=$(server memory_peak) budget=$(server memory_max) rss=$(($(resident VmHWM) * 1024))
  percent=$((peak * 100 / budget))
  printf '%s ' "$name" "$(load frames_sent)" "$(load gaps)" "$(load corrupt)/$(load verified_messages)" \
    "$(load latency_p50_ms)/$(load latency_p99_ms)/$(load latency_max_ms)" \
    "$((peak / mib))/$((budget / mib))" "$percent" "$((rss / mib))" "$((memory * 5 / 4 / mib))" \
    "$(all_loops out_of_memory)" "$(all_loops refused)" >> "$table"
  echo >> "$table"

  [ "$status" -eq 0 ] || broken "$name: $(complaints "$out")"
  [ "$peak" -le "$budget" ] || broken "$name: $peak of $budget bytes charged"
  [ "$percent" -ge 70 ] || broken "$name: only $percent % of the budget were reached"
  [ "$rss" -le $((memory * 5 / 4)) ] || broken "$name: $((rss / mib)) MiB resident"
}

row huge-messages huge 64
row hoarded-names names 200
row stuck-players stuck 400
row unread-replies replies 2500
row tiny-frames tiny 40
row everything huge 32 names 60 stuck 100 replies 600 tiny 8 handshakes 300
column -t "$table"
verdict
