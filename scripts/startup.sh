#!/usr/bin/env bash
# Start-up time on loopback: from a player's SYN to the segment that brings the first byte of video,
# as a packet capture sees it. RUNS (20) per client, with a warm GOP cache.
# Fails when a median is above 10 ms. Needs tshark and the right to capture on the loopback device.
set -euo pipefail
cd "$(dirname "$0")/.."
runs=${1:-20}
limit_ms=10

for tool in tshark ffmpeg mpv gst-launch-1.0; do
  command -v "$tool" >/dev/null || { echo "$tool is missing" >&2; exit 1; }
done
cargo build --locked --release --quiet --bin millrace
work=$(mktemp -d)
pids=()
finish() {
  for pid in "${pids[@]}"; do kill "$pid" 2>/dev/null || true; done
  wait
  rm -rf "$work"
}
trap finish EXIT

until_seen() { # FILE PATTERN
  for _ in $(seq 200); do
    grep -q "$2" "$1" && return
    sleep 0.05
  done
  echo "not seen in $1: $2" >&2
  exit 1
}

target/release/millrace --listen 127.0.0.1:0 2>"$work/server" &
pids+=($!)
until_seen "$work/server" ' loops '
port=$(sed -n 's/.*listening on .*:\([0-9]*\)$/\1/p' "$work/server")
url=rtmp://127.0.0.1:$port/live/startup

ffmpeg -nostdin -v error -re -f lavfi -i testsrc2=s=640x360:r=30 -f lavfi -i sine -pix_fmt yuv420p \
  -c:v libx264 -preset ultrafast -g 60 -b:v 1M -c:a aac -f flv "$url" &
pids+=($!)
until_seen "$work/server" 'publishes live/startup'
sleep 5

capture() { # NAME COMMAND...
  local name=$1
  shift
  tshark -q -i lo -f "tcp port $port" -w "$work/$name.pcap" 2>"$work/$name.tshark" &
  local tshark=$!
  pids+=("$tshark")
  until_seen "$work/$name.tshark" 'Capturing'
  sleep 1
  for _ in $(seq "$runs"); do
    timeout 20 "$@" >/dev/null 2>"$work/$name.said" || { cat "$work/$name.said" >&2; exit 1; }
  done
  sleep 1
  kill -INT "$tshark"
  wait "$tshark" || true
}

fields() { # NAME FILTER
  tshark -r "$work/$1.pcap" -Y "$2" -T fields -e tcp.stream -e frame.time_epoch 2>/dev/null
}

# The body of the AVC sequence header, which is the first video message.
first_video=17:00:00:00:00:01
over=0
report() { # NAME
  fields "$1" 'tcp.flags.syn == 1 && tcp.flags.ack == 0' >"$work/syn"
  fields "$1" "tcp.srcport == $port && tcp contains $first_video" >"$work/video"
  awk 'NR == FNR { syn[$1] = $2; next }
    $1 in syn && !($1 in seen) { seen[$1]; printf "%.3f\n", ($2 - syn[$1]) * 1000 }' \
    "$work/syn" "$work/video" | sort -n >"$work/times"
  awk -v name="$1" -v runs="$runs" -v limit="$limit_ms" '{ ms[NR] = $1 }
    END {
      if (NR != runs) { printf "%s: %d of %d runs seen\n", name, NR, runs; exit 1 }
      median = NR % 2 ? ms[(NR + 1) / 2] : (ms[NR / 2] + ms[NR / 2 + 1]) / 2
      printf "%-9s min %.2f median %.2f max %.2f ms, %d runs\n", name, ms[1], median, ms[NR], NR
      exit median > limit
    }' "$work/times" || over=1
}

capture ffmpeg ffmpeg -nostdin -v error -i "$url" -t 0.1 -c copy -f null -
capture mpv mpv --no-config --really-quiet --vo=null --ao=null --frames=1 "$url"
capture rtmp2src gst-launch-1.0 -q rtmp2src location="$url" num-buffers=10 ! fakesink
report ffmpeg
report mpv
report rtmp2src
exit "$over"
