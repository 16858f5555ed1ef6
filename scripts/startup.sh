#!/usr/bin/env bash
# Start-up time on loopback: from a player's SYN to the segment that brings the first byte of video,
# as a packet capture sees it; --runs runs of each client, with a warm GOP cache, otherwise idle.
#
# Promise: the median of each client is at most --ms ms.
#
# Needs tshark and the right to capture on the loopback device. summary.csv has the medians. Plot:
# startup.svg by run.
set -euo pipefail
# shellcheck source=lib.sh
. "$(dirname "$0")/lib.sh"

flag runs 20 2 'Runs of each client.'
flag ms 10 1000 'Most of a median.'
begin "$@"

for tool in tshark ffmpeg mpv gst-launch-1.0; do
  command -v "$tool" >/dev/null || wrong "$tool is missing"
done
seen_in() { grep -q "$2" "$1"; }

start_server
port=${server_address##*:}
url=rtmp://$server_address/live/startup
ffmpeg -nostdin -v error -re -f lavfi -i testsrc2=s=640x360:r=30 -f lavfi -i sine -pix_fmt yuv420p \
  -c:v libx264 -preset ultrafast -g 60 -b:v 1M -c:a aac -f flv "$url" &
pids+=($!)
wait_for 'the publisher' 20 seen_in "$out/server.log" 'publishes live/startup'
pause 5

capture() { # NAME COMMAND...
  local name=$1
  shift
  note "load $name: $*"
  tshark -q -i lo -f "tcp port $port" -w "$out/$name.pcap" 2>"$out/$name.tshark" &
  local tshark=$!
  pids+=("$tshark")
  wait_for tshark 20 seen_in "$out/$name.tshark" 'Capturing'
  pause 1
  for _ in $(seq "$runs"); do
    timeout 20 "$@" >/dev/null 2>"$out/$name.txt" || { cat "$out/$name.txt" >&2; exit 1; }
  done
  pause 1
  kill -INT "$tshark"
  wait "$tshark" || true
  unset 'pids[-1]'
}

fields() { # NAME FILTER
  tshark -r "$out/$1.pcap" -Y "$2" -T fields -e tcp.stream -e frame.time_epoch 2>/dev/null
}

# The body of the AVC sequence header, which is the first video message.
first_video=17:00:00:00:00:01
echo 'client,run,start_ms' > "$out/rows.csv"
echo 'client,min_ms,median_ms,max_ms,runs' > "$out/summary.csv"
report() { # NAME
  awk -v client="$1" 'NR == FNR { syn[$1] = $2; next }
    $1 in syn && !($1 in seen) { seen[$1]; printf "%s,%d,%.3f\n", client, ++run, ($2 - syn[$1]) * 1000 }' \
    <(fields "$1" 'tcp.flags.syn == 1 && tcp.flags.ack == 0') \
    <(fields "$1" "tcp.srcport == $port && tcp contains $first_video") >> "$out/rows.csv"
  local least middle most count
  count=$(column_of start_ms "$1" | wc -l)
  [ "$count" = "$runs" ] || broken "$1: $count of $runs runs seen"
  [ "$count" -gt 0 ] || return 0
  read -r least middle most < <(column_of start_ms "$1" | spread)
  echo "$1,$least,$middle,$most,$count" >> "$out/summary.csv"
  holds "$middle <= $ms" || broken "$1: the median is $middle ms, $ms allowed"
}

capture ffmpeg ffmpeg -nostdin -v error -i "$url" -t 0.1 -c copy -f null -
capture mpv mpv --no-config --really-quiet --vo=null --ao=null --frames=1 "$url"
capture rtmp2src gst-launch-1.0 -q rtmp2src location="$url" num-buffers=10 ! fakesink
end_process "${pids[0]}"
pids=()
for name in ffmpeg mpv rtmp2src; do report "$name"; done
column -t -s , "$out/summary.csv"
draw startup rows --x run --y start_ms --by client --title 'From SYN to the first byte of video'
verdict
