#!/usr/bin/env bash
# The same load against Millrace, the floor (the least that delivery costs on this machine; audio
# rides with video), nginx with its RTMP module (Debian: libnginx-mod-rtmp; one process, its own
# defaults) and any --other, in turns for --rounds rounds. Each server runs alone on the server's
# CPUs; an --other runs already and is asked to be pinned there by whoever started it.
#
# Promises, as medians of Millrace's figure divided by the other's in the same round: CPU per Gbit at
# most --floor-cpu of the floor's; at most --nginx-cpu of nginx's, with the load's own CPU at most
# --nginx-both, p99 at most --nginx-p99. And Millrace loses, harms and refuses nothing.
#
# ratios.csv has the ratios. Plots: cost.svg, p99.svg by round, ratios.svg.
set -euo pipefail
# shellcheck source=lib.sh
. "$(dirname "$0")/lib.sh"
# shellcheck source=peers.sh
. "$root/scripts/peers.sh"

flag servers millrace,floor,nginx millrace,floor,nginx 'Which of the known ones.'
flag other '*' '*' 'NAME=ADDR:PORT,PID of one that runs; may be repeated.'
flag floor-cpu 1.05 1000 'Most of the floor.'
flag nginx-cpu 1.05 1000 'Most of nginx: CPU of the server.'
flag nginx-both 1.0 1000 'Most of nginx: CPU of server and load.'
flag nginx-p99 0.5 1000 'Most of nginx: p99.'
begin "$@"
figures='cpu_ms_per_gbit both_cpu_ms_per_gbit latency_p50_ms latency_p99_ms'

others=()
for name in ${servers//,/ }; do
  case $name in
    millrace | floor) ;;
    nginx) need_nginx ;;
    *) wrong "--servers '$name' is not allowed: give millrace, floor, nginx" ;;
  esac
  others+=("$name")
done
for given in $other; do
  [[ $given =~ ^[A-Za-z0-9._-]+=[^,=]+:[0-9]+,[0-9]+$ ]] ||
    wrong "--other '$given' is not allowed: give NAME=ADDR:PORT,PID"
  others+=("$given")
done

row() { # NAME ROUND
  load_peer "$1" "$2"
  echo "$1, round $2: server $(of_load "$1-$2" server_cpu_percent) % CPU," \
    "$(of_load "$1-$2" cpu_ms_per_gbit) CPU-ms/Gbit, with load" \
    "$(of_load "$1-$2" both_cpu_ms_per_gbit), p50/p99" \
    "$(of_load "$1-$2" latency_p50_ms)/$(of_load "$1-$2" latency_p99_ms) ms"
}

for round in $(seq "$rounds"); do
  for name in "${others[@]}"; do
    case $name in
      millrace)
        start_server
        row millrace "$round"
        must_be_good "millrace-$round"
        stop_server
        ;;
      floor | nginx)
        "start_$name"
        row "$name" "$round"
        stop_other
        ;;
      *)
        # Not ours to end.
        server_address=${name#*=} server_address=${server_address%,*} measured_pid=${name##*,}
        row "${name%%=*}" "$round"
        ;;
    esac
  done
done

# Millrace's figure divided by the other's, of the same round.
echo 'other,figure,min,median,max,rounds' > "$out/ratios.csv"
for name in "${others[@]}"; do
  name=${name%%=*}
  [ "$name" != millrace ] || continue
  for figure in $figures; do
    read -r least middle most count < <(ratios "$figure" millrace "$name") ||
      { broken "no $figure of both millrace and $name"; continue; }
    echo "$name,$figure,$least,$middle,$most,$count" >> "$out/ratios.csv"
    case $name:$figure in
      floor:cpu_ms_per_gbit) allowed=$floor_cpu ;;
      nginx:cpu_ms_per_gbit) allowed=$nginx_cpu ;;
      nginx:both_cpu_ms_per_gbit) allowed=$nginx_both ;;
      nginx:latency_p99_ms) allowed=$nginx_p99 ;;
      *) continue ;;
    esac
    holds "$middle <= $allowed" || broken "$figure is $middle of $name's, $allowed allowed"
  done
done
echo 'Millrace divided by:'
column -t -s , "$out/ratios.csv"
where="$players players of $kbps kbit/s"
draw cost rows --x round --y cpu_ms_per_gbit --by server --title "CPU of the server: $where"
draw p99 rows --x round --y latency_p99_ms --by server --title "p99: $where"
if [ "$(wc -l < "$out/ratios.csv")" -gt 1 ]; then
  draw ratios ratios --x figure --y median --by other --mark 1 \
    --title "Millrace divided by the other: $where"
fi
verdict
