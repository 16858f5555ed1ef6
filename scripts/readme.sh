#!/usr/bin/env bash
# Runs every fenced command of the README as a newcomer would, in order. A command that starts a
# server ends the one before and stays; players and publishers run beside it. What runs for ever is
# ended after a while, which is no failure.
set -euo pipefail
cd "$(dirname "$0")/.."

export SDL_VIDEODRIVER=dummy SDL_AUDIODRIVER=dummy
target=${CARGO_TARGET_DIR:-target}
log=$target/readme
mkdir -p "$log"
server=""
background=()
count=0

stop() {
  [ -z "$1" ] || { kill -TERM "$1" 2>/dev/null || true; wait "$1" 2>/dev/null || true; }
}
trap 'for pid in "${background[@]}" "$server"; do stop "$pid"; done' EXIT

fail() {
  echo "README: $1"
  tr '\r' '\n' <"$2" | cut -c1-200 | tail -n 30
  exit 1
}

# Waits until the output of a started command has a line with some text.
await() {
  for _ in $(seq 1 600); do
    grep -q "$2" "$1" && return
    sleep 0.1
  done
  fail "no '$2' in the output of: $3" "$1"
}

# What cargo would run: cargo itself would not pass the signal on.
server_of() {
  local flags=${1#cargo run --release}
  echo "$target/release/millrace ${flags# -- }"
}

while IFS= read -r command; do
  count=$((count + 1))
  out="$log/$count.log"
  echo "\$ $command"
  case "$command" in
    ./scripts/test.sh) echo "(this is it)" ;;
    "cargo run --release" | "cargo run --release -- --demo")
      stop "$server"
      cargo build --release --quiet
      # shellcheck disable=SC2091 # its words are the command
      $(server_of "$command") 2>"$out" &
      server=$!
      await "$out" " loops " "$command"
      ;;
    *"-re "*)
      bash -c "exec $command" </dev/null >"$out" 2>&1 &
      background+=($!)
      await "$out" "frame=" "$command"
      ;;
    *)
      status=0
      timeout 20 bash -c "$command" </dev/null >"$out" 2>&1 || status=$?
      case "$command:$status" in
        *:0 | ffplay*:124 | *--check:1) ;;
        *) fail "exit code $status of: $command" "$out" ;;
      esac
      if [[ $command == ffplay* ]] && ! grep -q "Video: h264" "$out"; then
        fail "nothing to see: $command" "$out"
      fi
      ;;
  esac
done < <(awk '/^```sh$/ { inside = 1; next } /^```$/ { inside = 0 } inside' README.md)

[ "$count" -ge 8 ] || { echo "README: only $count commands found"; exit 1; }
echo "README commands: $count passed, 0 failed"
