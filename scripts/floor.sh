#!/usr/bin/env bash
# Is the floor as low as this machine allows? The same load against `millrace-load floor` (audio
# rides with video) and against nginx with its RTMP module (Debian: libnginx-mod-rtmp; one process),
# in turns for --rounds rounds, each alone on the server's CPU.
#
# Promise: the floor's CPU per Gbit divided by nginx's in the same round is, as a median, at most
# --within percent above --ratio, which is what a quiet machine of two CPUs gave. A floor that is
# slower is no yardstick. One that is lower than that is told and no fault.
#
# ratios.csv has the ratios. Plot: cost.svg by round.
set -euo pipefail
# shellcheck source=lib.sh
. "$(dirname "$0")/lib.sh"
# shellcheck source=peers.sh
. "$root/scripts/peers.sh"

flag ratio 0.97 0.97 'The floor divided by nginx, as it should be.'
flag within 15 10000 'Percent that it may be above.'
begin "$@"
need_nginx

for round in $(seq "$rounds"); do
  for name in floor nginx; do
    "start_$name"
    load_peer "$name" "$round"
    [ "$name" = nginx ] || must_be_good "$name-$round"
    stop_other
  done
done

echo 'server,min,median,max' > "$out/cost.csv"
for name in floor nginx; do
  read -r least middle most < <(column_of cpu_ms_per_gbit "$name" | spread)
  echo "$name,$least,$middle,$most" >> "$out/cost.csv"
done
echo 'CPU-ms per Gbit:'
column -t -s , "$out/cost.csv"

read -r least middle most count < <(ratios cpu_ms_per_gbit floor nginx)
printf 'min,median,max,rounds\n%s,%s,%s,%s\n' "$least" "$middle" "$most" "$count" > "$out/ratios.csv"
echo 'The floor divided by nginx:'
column -t -s , "$out/ratios.csv"
holds "$middle <= $ratio * (1 + $within / 100)" ||
  broken "the floor takes $middle of nginx's CPU, not $ratio (+$within %)"
holds "$middle >= $ratio * (1 - $within / 100)" ||
  echo "lower than $ratio by more than $within %"
draw cost rows --x round --y cpu_ms_per_gbit --by server \
  --title "CPU of the server: $players players of $kbps kbit/s"
verdict
