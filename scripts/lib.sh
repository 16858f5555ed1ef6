#!/usr/bin/env bash
# What the scripts share; sourced, not run. A script declares its flags with `flag`, calls `begin
# "$@"`, then starts servers and loads with the functions below, and ends with `verdict`.
#
# The server runs on the CPUs of --pin-server and the load on those of --pin-load, so that neither
# takes the other's time. Everything that is started is ended on any exit, by its pid. Results are
# in the directory $out: rows.csv (own columns, then the load's), ROW.json and ROW.txt for each
# row, environment.txt, server.json (each server's last statistics), server.log and pictures.

caller=$PWD
root=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
script=$(basename "$0" .sh)
cd "$root" || exit
binaries=${CARGO_TARGET_DIR:-target}/release
case $binaries in /*) ;; *) binaries=$root/$binaries ;; esac
generator=$binaries/millrace-load

flag_names=()
declare -A flag_default=() flag_smoke=() flag_help=() flag_given=()
server_flags=()
pids=()
# Our server; the process whose CPU and memory the load takes, which is our server mostly.
server_pid='' measured_pid=''
server_address='' load_pid='' out=''
# Columns of rows.csv before the load's.
own_columns=row
failures=0 smoke=0

# A flag --$1 with default $2, or $3 with --smoke, and help $4; begin sets the variable of its name
# (- as _). A default that is a number takes numbers only; one that is '*' may be repeated.
flag() {
  [ -n "${flag_help[$1]-}" ] || flag_names+=("$1")
  flag_default[$1]=$2 flag_smoke[$1]=$3 flag_help[$1]=$4
}

flag out '' '' 'Directory for the results [target/load/SCRIPT-DATE].'
flag loops 1 1 'Loops of the server.'
flag pin-server '' '' 'CPUs of the server [the first, as many as loops].'
flag pin-load '' '' 'CPUs of the load [those the server has not].'

# The comment at the head of the script, then its flags.
usage() {
  awk 'NR == 1 { next } !/^#/ { exit } { sub(/^# ?/, ""); print }' "$0"
  printf '\nUsage: scripts/%s.sh [FLAGS] [-- FLAGS OF THE SERVER]\n' "$script"
  local name
  for name in "${flag_names[@]}"; do
    printf '  --%-16s %s\n' "$name" "${flag_help[$name]}$(default_of "$name")"
  done
  printf '  --%-16s %s\n' smoke 'Tiny numbers, at most 20 s, the same path.' help 'This text.'
}

default_of() {
  case ${flag_default[$1]} in '' | '*') ;; *) printf ' [%s]' "${flag_default[$1]}" ;; esac
}

wrong() {
  echo "$script.sh: $*" >&2
  exit 2
}

# Sets a variable for each flag.
parse() {
  local name value
  while [ $# -gt 0 ]; do
    case $1 in
      --help) usage; exit 0 ;;
      --smoke) smoke=1; shift; continue ;;
      --) shift; server_flags=("$@"); break ;;
      --*=*) name=${1#--} value=${1#*=} name=${name%%=*}; shift ;;
      --*) name=${1#--}
        [ $# -ge 2 ] || wrong "--$name needs a value; see --help"
        value=$2; shift 2 ;;
      *) wrong "'$1' is not a flag; see --help" ;;
    esac
    [ -n "${flag_help[$name]-}" ] || wrong "--$name is not a flag; see --help"
    if [ "${flag_default[$name]}" = '*' ]; then
      flag_given[$name]="${flag_given[$name]-} $value"
      continue
    fi
    [ -z "${flag_given[$name]+x}" ] || wrong "--$name is given twice"
    if [[ ${flag_default[$name]} =~ ^[0-9.]+$ && ! $value =~ ^[0-9]+(\.[0-9]+)?$ ]] ||
      [[ ${flag_default[$name]} =~ ^[0-9]+$ && ! $value =~ ^[0-9]{1,9}$ ]]; then
      wrong "--$name '$value' is not allowed: give a number"
    fi
    flag_given[$name]=$value
  done
  for name in "${flag_names[@]}"; do
    value=${flag_default[$name]}
    [ "$smoke" = 0 ] || value=${flag_smoke[$name]}
    [ "$value" != '*' ] || value=
    printf -v "${name//-/_}" '%s' "${flag_given[$name]-$value}"
  done
}

# Everything before the first row: flags, programs, the directory.
begin() {
  started_as="$script.sh $*"
  parse "$@"
  choose_cpus
  cargo build --locked --release --quiet --bins
  local default
  default=${binaries%/release}/load/$script-$(date +%Y%m%d-%H%M%S)
  # Relative to where the script was called.
  case $out in '') out=$default ;; /*) ;; *) out=$caller/$out ;; esac
  mkdir -p "$out"
  if [ -e "$out/rows.csv" ]; then
    wrong "--out $out has results already"
  fi
  trap clean_up EXIT
  trap 'exit 130' INT
  trap 'exit 143' TERM
  environment > "$out/environment.txt"
  if [ "$(wc -l < <(allowed_cpus))" -le "$loops" ]; then
    echo "$script.sh: --loops $loops leave the load no CPU of its own: both are slower for it" |
      tee -a "$out/environment.txt" >&2
  fi
}

# CPUs this process may use, a line each.
allowed_cpus() {
  awk '/^Cpus_allowed_list:/ { print $2 }' /proc/self/status | tr ',' '\n' |
    while IFS=- read -r first last; do seq "$first" "${last:-$first}"; done
}

choose_cpus() {
  local cpus
  mapfile -t cpus < <(allowed_cpus)
  local IFS=,
  if [ -z "$pin_server" ]; then
    pin_server="${cpus[*]:0:$loops}"
  fi
  if [ -z "$pin_load" ]; then
    pin_load="${cpus[*]:$loops}"
    # Where there are no others the two share.
    [ -n "$pin_load" ] || pin_load="${cpus[*]}"
  fi
  # To stand before a program: a function would be a process between us and it.
  on_server_cpus=(taskset -c "$pin_server")
  on_load_cpus=(taskset -c "$pin_load")
}

# What a figure depends on, as `key: value`.
environment() {
  local commit=unknown dirty='' name
  if commit=$(git rev-parse HEAD 2>/dev/null) && [ -n "$(git status --porcelain)" ]; then
    dirty=', with changes'
  fi
  echo "command: $started_as"
  echo "date: $(date -u +%Y-%m-%dT%H:%M:%SZ)"
  echo "commit: ${commit:-unknown}$dirty"
  echo "kernel: $(uname -srm)"
  echo "cpu: $(sed -n 's/^model name[^:]*: //p' /proc/cpuinfo | head -n 1)"
  echo "cores: $(nproc --all), allowed $(allowed_cpus | tr '\n' ' ')"
  echo "governor: $(cat /sys/devices/system/cpu/cpu0/cpufreq/scaling_governor 2>/dev/null || echo none)"
  echo "load average: $(cut -d ' ' -f 1-3 /proc/loadavg)"
  echo "memory: $(awk '/^MemTotal:/ { print $2, $3 }' /proc/meminfo)"
  echo "nofile: soft $(ulimit -Sn), hard $(ulimit -Hn)"
  echo "pins: server $pin_server, load $pin_load"
  for name in net.core.{somaxconn,netdev_max_backlog,wmem_max,rmem_max} \
    net.ipv4.{ip_local_port_range,tcp_mem,tcp_wmem,tcp_rmem,tcp_max_syn_backlog,tcp_tw_reuse}; do
    echo "$name: $(tr "\t" " " 2>/dev/null < "/proc/sys/${name//.//}" || true)"
  done
}

note() { echo "$*" >> "$out/environment.txt"; }

clean_up() {
  local status=$? pid
  trap - EXIT
  for pid in "$load_pid" "${pids[@]}"; do
    [ -z "$pid" ] || kill "$pid" 2>/dev/null || true
  done
  end_process "$server_pid"
  for pid in "$load_pid" "${pids[@]}"; do
    [ -z "$pid" ] || wait "$pid" 2>/dev/null || true
  done
  exit "$status"
}

# Ends an own process in order and waits for it.
end_process() {
  if [ -n "$1" ] && kill -TERM "$1" 2>/dev/null; then
    wait "$1" 2>/dev/null || true
  fi
}

# Sleeps, but a signal ends it.
pause() {
  sleep "$1" &
  pids+=($!)
  wait $!
  unset 'pids[-1]'
}

# Starts the server with flags "$@", pairs of name and value, on a free port; those behind -- win.
# Sets server_pid, measured_pid and server_address.
start_server() {
  stop_server
  local flags=(--loops "$loops") log=$out/server.log begins
  flags+=("$@")
  local kept=(--listen 127.0.0.1:0 --stats-format json)
  while [ ${#flags[@]} -ge 2 ]; do
    case " ${server_flags[*]} " in
      *" ${flags[0]} "* | *" ${flags[0]}="*) ;;
      *) kept+=("${flags[0]}" "${flags[1]}") ;;
    esac
    flags=("${flags[@]:2}")
  done
  kept+=("${server_flags[@]}")
  note "server: millrace ${kept[*]}"
  touch "$log"
  begins=$(($(wc -l < "$log") + 1))
  "${on_server_cpus[@]}" "$binaries/millrace" "${kept[@]}" 2>> "$log" &
  server_pid=$! measured_pid=$!
  wait_for "the server's start" 20 server_is_up "$begins"
  server_address=$(tail -n "+$begins" "$log" | sed -n 's/.*listening on //p' | head -n 1)
}

server_is_up() {
  tail -n "+$1" "$out/server.log" | grep -q ' loops '
}

# Keeps the server's last statistics and ends it, in order and within its grace.
stop_server() {
  if [ -n "$server_pid" ] && kill -0 "$server_pid" 2>/dev/null; then
    statistics >> "$out/server.json"
    end_process "$server_pid"
  fi
  server_pid=
}

# Waits until the command behind $2 succeeds, at most $2 seconds, for $1.
wait_for() {
  local what=$1 tries=$(($2 * 20))
  shift 2
  until "$@"; do
    tries=$((tries - 1))
    [ "$tries" -gt 0 ] || { echo "$script.sh: waited in vain for $what" >&2; exit 1; }
    sleep 0.05
  done
}

# The server's statistics now, one line of JSON.
statistics() {
  local log=$out/server.log before
  before=$(grep -c '^{' "$log" || true)
  kill -USR1 "$server_pid"
  wait_for "the server's statistics" 20 has_statistics "$before"
  grep '^{.*}}$' "$log" | tail -n 1
}

has_statistics() { [ "$(grep -c '^{.*}}$' "$out/server.log")" -gt "$1" ]; }

# Starts the load of row $1 against $server_address with the flags behind it; sets load_pid.
# Returns when everybody is there, or the load has given up.
start_load() {
  local row=$1
  shift
  local flags=(--server "$server_address" --server-pid "$measured_pid")
  flags+=("$@" --json "$out/$row.json" --csv "$out/$row.csv")
  # What is tried and not measured may share its CPUs.
  [ "$smoke" = 0 ] || flags+=(--waited-max 1000)
  note "load $row: millrace-load ${flags[*]}"
  : > "$out/$row.txt"
  "${on_load_cpus[@]}" "$generator" "${flags[@]}" > "$out/$row.txt" 2>&1 &
  load_pid=$!
  wait_for "the load of $row" 300 load_has_begun "$row"
}

load_has_begun() {
  grep -q 'everybody is there' "$out/$1.txt" || ! kill -0 "$load_pid" 2>/dev/null
}

# Waits for the end of the load of row $1 and adds its result to rows.csv behind the own columns
# "${@:2}". Its exit code is in load_status.
finish_load() {
  local row=$1 header
  shift
  load_status=0
  wait "$load_pid" || load_status=$?
  load_pid=
  if [ ! -s "$out/$row.csv" ]; then
    cat "$out/$row.txt" >&2
    echo "$script.sh: the load of $row gave no result" >&2
    exit 1
  fi
  header=$own_columns,$(head -n 1 "$out/$row.csv")
  [ -s "$out/rows.csv" ] || echo "$header" > "$out/rows.csv"
  { printf '%s,' "$@"; tail -n 1 "$out/$row.csv"; } >> "$out/rows.csv"
  rm "$out/$row.csv"
}

# A whole row: $1 is its name, $2 its own columns with commas between, the rest flags of the load.
run_load() {
  local row=$1 own=$2
  shift 2
  start_load "$row" "$@"
  local IFS=,
  # shellcheck disable=SC2086 # a column each
  finish_load "$row" $own
}

# What the load of row $1 complained of.
complaints() { grep '^BROKEN\|^first\|^INVALID\|^millrace-load' "$out/$1.txt" | tr '\n' ' '; }

# The load of row $1 must have kept its promises.
must_be_good() {
  [ "$load_status" = 0 ] || broken "$1: $(complaints "$1")"
}

# Figure $1 of the JSON on stdin, where it stands first; empty for null.
figure() {
  grep -o "\"$1\": *[-0-9a-z.]*" | head -n 1 | sed 's/.*: *//; s/^null$//'
}

# Figure $2 of the load of row $1.
of_load() { figure "$2" < "$out/$1.json"; }

# Resident memory of the server, KiB: VmRSS now, VmHWM the most there was.
resident() { awk -v "key=$1:" '$1 == key { print $2 }' "/proc/$server_pid/status"; }

# The value of an expression, and whether one holds; empty figures count as 0.
calculate() { awk "BEGIN { printf \"%.${2:-0}f\", ($1) }"; }
holds() { awk "BEGIN { exit !($1) }"; }

# Minimum, median and maximum of the numbers on stdin, with spaces between.
spread() {
  sort -g | awk '{ value[NR] = $1 }
    END {
      if (!NR) exit 1
      middle = (value[int((NR + 1) / 2)] + value[int(NR / 2) + 1]) / 2
      printf "%.6g %.6g %.6g\n", value[1], middle, value[NR]
    }'
}

# Median of column $1 of rows.csv in the rows whose first own column is $2.
median_of() {
  column_of "$1" "$2" | spread | cut -d ' ' -f 2
}

# Column $1 of rows.csv in the rows whose first own column is $2.
column_of() {
  awk -F , -v "name=$1" -v "key=$2" '
    NR == 1 { for (at = 1; at <= NF; at++) if ($at == name) column = at; next }
    $1 == key && column && $column != "" { print $column }' "$out/rows.csv"
}

# Minimum, median, maximum and number of the ratios of column $1, the rows of $2 divided by those of
# $3 in turn; fails where there is none.
ratios() {
  local values
  values=$(paste <(column_of "$1" "$2") <(column_of "$1" "$3") |
    awk 'NF == 2 && $2 > 0 { print $1 / $2 }')
  [ -n "$values" ] || return 1
  echo "$(spread <<< "$values") $(wc -l <<< "$values")"
}

# Columns "$@" of rows.csv as a table.
table() {
  awk -F , -v "names=$*" '
    NR == 1 { for (at = 1; at <= NF; at++) column[$at] = at; count = split(names, name, " ") }
    { for (at = 1; at <= count; at++) printf "%s%s", $column[name[at]] == "" ? "-" : $column[name[at]],
        at < count ? " " : "\n" }' "$out/rows.csv" | column -t
}

# Draws the chart $1.svg from $out/$2.csv with the flags behind.
draw() {
  local name=$1 csv=$2
  shift 2
  "$generator" plot --csv "$out/$csv.csv" --svg "$out/$name.svg" "$@"
}

# Notes a broken promise.
broken() {
  echo "BROKEN: $*"
  failures=$((failures + 1))
}

# The end of a script: exit code 1 if a promise was broken.
verdict() {
  stop_server
  echo "results: $out"
  if [ "$failures" -gt 0 ]; then
    echo "$failures promises broken"
    exit 1
  fi
  if [ "$smoke" = 1 ]; then
    echo 'every promise held that --smoke judges: it is too short for ratios and latencies'
  else
    echo 'every promise held'
  fi
}
