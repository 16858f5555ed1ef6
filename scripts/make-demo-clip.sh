#!/usr/bin/env bash
# Makes src/net/demo.flv, the clip that --demo publishes: 5.12 s of moving picture and sound.
#
# 5.12 s are 128 pictures at 25 a second and 240 AAC frames of 1024 samples at 48 kHz, so both end
# together and the end meets the start: every motion and every tone has a whole number of periods
# in it. The sound is encoded three times over and the middle is taken, so its first frame follows
# its last one without a click. No B-frames, two closed GOPs.
set -euo pipefail
cd "$(dirname "$0")/.."

period=5.12
turn="2*PI*t/$period"
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
run="ffmpeg -nostdin -hide_banner -loglevel error -y -fflags +bitexact -flags +bitexact"

$run -f lavfi -i "smptehdbars=size=640x360:rate=25:duration=$period" \
    -f lavfi -i "rgbtestsrc=size=96x96:rate=25:duration=$period" \
    -f lavfi -i "color=color=white:size=24x24:rate=25:duration=$period" \
    -filter_complex "[0]hue=h='360*t/$period'[bars];
        [bars][1]overlay=x='272+230*cos($turn)':y='132+110*sin($turn)'[disc];
        [disc][2]overlay=x='308+140*cos(-3*$turn)':y='168+140*sin(-3*$turn)',format=yuv420p" \
    -frames:v 128 -c:v libx264 -profile:v main -preset veryslow -b:v 250k -maxrate 300k \
    -bufsize 300k -bf 0 -g 64 -keyint_min 64 -sc_threshold 0 -x264-params threads=1 \
    "$work/video.mp4"

# 1126 and 1690 periods in 5.12 s are 219.9 and 330.1 Hz.
tone="0.25*sin(2*PI*t*1126/$period)*(1+cos(4*$turn))"
fifth="0.15*sin(2*PI*t*1690/$period)*(1-cos(4*$turn))"
$run -f lavfi -i "aevalsrc='$tone+$fifth|$tone-$fifth':sample_rate=48000:duration=15.36" \
    -c:a aac -b:a 64k -bsf:a "noise=drop='lt(n,240)+gte(n,480)'" -f adts "$work/audio.aac"
# FLV wants the codec's configuration before the first frame, which MP4 has and ADTS has not.
$run -i "$work/audio.aac" -c copy "$work/audio.mp4"

$run -i "$work/video.mp4" -i "$work/audio.mp4" -map 0:v -map 1:a -c copy \
    -flvflags no_duration_filesize src/net/demo.flv
size=$(wc -c < src/net/demo.flv)
echo "src/net/demo.flv: $size bytes"
test "$size" -lt 300000
