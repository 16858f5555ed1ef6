#!/usr/bin/env bash
# What this host needs, and which flags of Millrace fit, for --players players of --kbps kbit/s each
# who may be --latency-ms behind. Prints, and changes nothing.
#
# For each flag it says which script here shows that the flag changes a measured figure, and how to
# run it; "untested" stands where none does. Exit code 0 whatever it finds: it promises nothing.
#
# rows.csv has the findings, sizes in bytes: kind (host or flag), name, have, want, verdict, shown by.
set -euo pipefail
# shellcheck source=lib.sh
. "$(dirname "$0")/lib.sh"

flag players 5000 5000 'Players in all.'
flag kbps 2000 2000 'Bit rate of each.'
flag latency-ms 200 200 'Delay that the server may add.'
flag joins 200 200 'Joins a second at the worst moment.'
begin "$@"

echo 'kind,name,have,want,verdict,shown_by' > "$out/rows.csv"
finding() { # KIND NAME HAVE WANT VERDICT SHOWN-BY
  local cells=("${@//,/;}")
  (IFS=,; echo "${cells[*]}") >> "$out/rows.csv"
}

# A figure of the host, at least $3; $2 is empty where the host does not tell.
at_least() { # NAME HAVE WANT HOW
  case $2 in
    '' | *[!0-9]*) finding host "$1" "${2:-unknown}" "$3" 'look yourself' "$4" ;;
    *)
      if [ "$2" -ge "$3" ]; then
        finding host "$1" "$2" "$3" ok "$4"
      else
        finding host "$1" "$2" "$3" RAISE "$4"
      fi
      ;;
  esac
}

sysctl_value() { tr '\t' ' ' 2>/dev/null < "/proc/sys/${1//.//}" || true; }
page=$(getconf PAGESIZE)
files=$((players + players / 10 + 256))
backlog=$((joins * 2 > 4096 ? joins * 2 : 4096))

at_least 'nofile (hard)' "$(ulimit -Hn)" "$files" 'ulimit -n; LimitNOFILE= of the unit'
at_least fs.nr_open "$(sysctl_value fs.nr_open)" "$files" sysctl
at_least fs.file-max "$(sysctl_value fs.file-max | cut -c 1-18)" "$files" sysctl
at_least net.core.somaxconn "$(sysctl_value net.core.somaxconn)" "$backlog" 'sysctl; bounds --backlog'
at_least net.ipv4.tcp_max_syn_backlog "$(sysctl_value net.ipv4.tcp_max_syn_backlog)" "$backlog" sysctl
# What is written for a player but not acknowledged: a second of its stream at most here.
socket_bytes=$((kbps * 125 > 131072 ? kbps * 125 : 131072))
read -r _ pressure _ <<< "$(sysctl_value net.ipv4.tcp_mem)"
at_least 'net.ipv4.tcp_mem (pressure; bytes)' "$((${pressure:-0} * page))" \
  "$((players * socket_bytes / 4))" 'sysctl; a quarter of the players behind at once'
read -r low high <<< "$(sysctl_value net.ipv4.ip_local_port_range)"
at_least 'net.ipv4.ip_local_port_range (ports)' "$((high - low))" 20000 \
  'for a load generator on this host only; more --sources help too'
governor=$(cat /sys/devices/system/cpu/cpu0/cpufreq/scaling_governor 2>/dev/null || true)
case $governor in
  '') finding host governor 'none to set' performance ok '/sys/devices/system/cpu/cpu*/cpufreq' ;;
  performance) finding host governor "$governor" performance ok '' ;;
  *) finding host governor "$governor" performance SET '/sys/devices/system/cpu/cpu*/cpufreq' ;;
esac
quota=$(cat "/sys/fs/cgroup$(sed -n 's/^0:://p' /proc/self/cgroup)/cpu.max" 2>/dev/null || echo max)
case $quota in
  max*) finding host 'cpu.max (cgroup)' "$quota" max ok '' ;;
  *) finding host 'cpu.max (cgroup)' "$quota" max 'LIFT: a throttled loop is late' 'cpu.max of the unit' ;;
esac
at_least CPUs "$(allowed_cpus | wc -l)" \
  "$(calculate "int($players * $kbps / 4000000) + 1")" '4 Gbit/s each; see load.sh for this machine'
at_least 'memory (bytes)' "$(($(awk '/^MemAvailable:/ { print $2 }' /proc/meminfo) * 1024))" \
  "$((players * (4096 + 1024) + players * socket_bytes / 4 + 268435456))" 'per player 4 KiB of the kernel and 1 KiB'
if [ -d /proc/irq ] && grep -q 'virtio.*-input\|-TxRx\|eth\|ens' /proc/interrupts; then
  finding host 'IRQs of the network card' "$(grep -c 'virtio.*-input\|-TxRx\|eth\|ens' /proc/interrupts) queues" \
    'one queue a loop or CPUs that no loop is pinned to' 'look yourself' '/proc/irq/*/smp_affinity_list'
fi
check=ok
lines=$("$binaries/millrace" --check --listen 127.0.0.1:0 "${server_flags[@]}" 2>/dev/null) || check=LOOK
[ -n "$lines" ] || wrong "millrace refuses '${server_flags[*]}'; see its --help"
while IFS= read -r line; do
  finding host 'millrace --check' "$line" '' "$check" ''
done <<< "$lines"

wish_flag() { # NAME VALUE WHY SHOWN-BY
  finding flag "$1" '' "$2" "$3" "$4"
}
merge=$((latency_ms / 2 > 100 ? 100 : latency_ms / 2))
if [ "$latency_ms" -lt 60 ]; then
  wish_flag --flush-ms 0 'audio does not wait for video' \
    'latency.sh --policy default --policy flush-ms=0: audio_p99_ms'
  # It promises that nobody misses a frame, which those who join so do.
  wish_flag --gop-cache keyframe 'joiners begin at the newest keyframe, and miss what followed it' \
    'churn.sh --smoke --joins 300 --gop-ms 2000 -- --gop-cache keyframe: mbps, gaps'
else
  wish_flag --merge-ms "$merge" 'fewer writes, each of more frames' \
    "latency.sh --policy default --policy merge-ms=$merge: cpu_ms_per_gbit"
fi
wish_flag --loops "$(allowed_cpus | wc -l)" 'a loop for each CPU' \
  'loops.sh: latency_p50_ms of wide-1 and wide-2'
if [ "$joins" -ge 5000 ]; then
  wish_flag --accept reuseport 'the kernel spreads connections' \
    'churn.sh --loops 2 -- --accept reuseport: accepted of each loop in server.json'
fi
if [ "$backlog" -gt 4096 ]; then
  wish_flag --backlog "$backlog" 'connections that wait in a storm' untested
fi
wish_flag --max-connections "$((files - 128))" 'taken from --memory at the start; resident when used' \
  'idle.sh -- --max-connections N: memory_max in server.json'
# It promises that nobody is closed, which such a timeout breaks.
stuck='slow.sh --smoke --time 8 --kbps 2000 -- --blocked-timeout'
wish_flag --notsent-lowat 128K 'a slow player is noticed early; the default' \
  "$stuck 3 --notsent-lowat N: total_players"
wish_flag --blocked-timeout 10 'players that never read are closed; the default' \
  "$stuck N: total_players"
# For people: sizes in MiB or GiB, which names in bytes tell.
awk -F , '
  function size(bytes) {
    if (bytes !~ /^[0-9]+$/) return bytes
    return bytes < 2^30 ? sprintf("%.0f MiB", bytes / 2^20) : sprintf("%.1f GiB", bytes / 2^30)
  }
  / *\(?bytes\),/ { $3 = size($3); $4 = size($4); sub(/; bytes\)/, ")", $2); sub(/ \(bytes\)/, "", $2) }
  { $1 = $1; for (at = 1; at <= NF; at++) if ($at == "") $at = "-"; print }' OFS='|' "$out/rows.csv" |
  tr ';' ',' | column -t -s '|'
echo "results: $out"
