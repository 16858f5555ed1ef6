# What the prove-*.sh scripts share; sourced, not run. The server runs on CPU 0 and the load on
# CPU 1 where there are two, so that neither takes the other's time.

cd "$(dirname "${BASH_SOURCE[0]}")/.."
cargo build --locked --release --quiet --bins

work=$(mktemp -d)
server_pid=
load_pid=
server_log=$work/server.log
server_cpu=() load_cpu=()
if [ "$(nproc)" -ge 2 ]; then
  server_cpu=(taskset -c 0) load_cpu=(taskset -c 1)
fi
failures=0

# Ends the server that runs, in order and within its grace.
stop_server() {
  if [ -n "$server_pid" ] && kill -TERM "$server_pid" 2>/dev/null; then
    wait "$server_pid" || true
  fi
  server_pid=
}

clean_up() {
  if [ -n "$load_pid" ]; then
    kill "$load_pid" 2>/dev/null || true
  fi
  stop_server
  rm -rf "$work"
}
trap clean_up EXIT

# Starts the load with the flags after $1, its output to file $1 and its result to $1.json; sets
# load_pid. Returns when everybody is there, or the load has given up.
start_load() {
  local out=$1
  shift
  : > "$out"
  "${load_cpu[@]}" target/release/millrace-load --server "$server_address" --quiet \
    --json "$out.json" "$@" > "$out" 2>&1 &
  load_pid=$!
  wait_for_line "$out" 'everybody is there\|^millrace-load' 120
}

# What the load with output $1 complained of.
complaints() { grep '^BROKEN\|^first\|^INVALID\|^millrace-load' "$1" | tr '\n' ' '; }

# Waits for the end of the load; its exit code.
wait_for_load() {
  local status=0
  wait "$load_pid" || status=$?
  load_pid=
  return "$status"
}

# Starts a server with flags "$@" on a free port; sets server_pid and server_address.
start_server() {
  stop_server
  : > "$server_log"
  "${server_cpu[@]}" target/release/millrace --listen 127.0.0.1:0 --stats-format json "$@" \
    2> "$server_log" &
  server_pid=$!
  wait_for_line "$server_log" ' loops '
  server_address=$(sed -n 's/.*listening on //p' "$server_log" | head -n 1)
}

# Waits until file $1 has a line that matches $2, at most $3 seconds (20).
wait_for_line() {
  local tries=$((${3:-20} * 10))
  until grep -q -- "$2" "$1"; do
    tries=$((tries - 1))
    if [ "$tries" -le 0 ]; then
      echo "no '$2' in $1:" >&2
      tail -n 5 "$1" >&2
      exit 1
    fi
    sleep 0.1
  done
}

# The server's statistics now, one line of JSON.
statistics() {
  local before tries=100
  before=$(grep -c '^{' "$server_log" || true)
  kill -USR1 "$server_pid"
  until [ "$(grep -c '^{.*}}$' "$server_log")" -gt "$before" ]; do
    tries=$((tries - 1))
    [ "$tries" -gt 0 ] || { echo 'the server wrote no statistics' >&2; exit 1; }
    sleep 0.1
  done
  grep '^{.*}}$' "$server_log" | tail -n 1
}

# Figure $1 of the JSON on stdin, where it stands first.
figure() { grep -o "\"$1\":[0-9a-z.]*" | head -n 1 | cut -d: -f2; }

# Resident memory of the server, KiB: VmRSS now, VmHWM the most there was.
resident() { awk -v "key=$1:" '$1 == key { print $2 }' "/proc/$server_pid/status"; }

# Notes a broken promise.
broken() {
  echo "BROKEN: $*"
  failures=$((failures + 1))
}

# The end of a script: exit code 1 if a promise was broken.
verdict() {
  if [ "$failures" -gt 0 ]; then
    echo "$failures promises broken"
    exit 1
  fi
  echo 'every promise held'
}
