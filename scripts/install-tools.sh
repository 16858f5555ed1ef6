#!/usr/bin/env bash
# The programs that the tests run: real clients, and a foreign server for the load generator. Debian
# packages, installed if we are root, and a newer ffmpeg (Enhanced RTMP: HEVC, AV1, Opus, several
# tracks) from a Python package, into .cache.
set -euo pipefail
cd "$(dirname "$0")/.."

packages=(ffmpeg rtmpdump gstreamer1.0-tools gstreamer1.0-plugins-base gstreamer1.0-plugins-good
  gstreamer1.0-plugins-bad gstreamer1.0-plugins-ugly gstreamer1.0-libav mpv iproute2
  nginx libnginx-mod-rtmp python3 util-linux bsdextrautils)
new_ffmpeg=imageio-ffmpeg==0.8.1
folder=.cache/imageio

has_new_ffmpeg() { compgen -G "$folder/imageio_ffmpeg/binaries/ffmpeg-linux*" >/dev/null; }

has_new_ffmpeg || python3 -m pip --version >/dev/null 2>&1 || packages+=(python3-pip)
missing=()
for package in "${packages[@]}"; do
  dpkg-query -W -f '${Status}' "$package" 2>/dev/null | grep -q 'ok installed' || missing+=("$package")
done
if [ ${#missing[@]} -gt 0 ]; then
  if [ "$(id -u)" != 0 ]; then
    echo "missing: ${missing[*]}; install everything with: sudo scripts/install-tools.sh" >&2
    exit 1
  fi
  export DEBIAN_FRONTEND=noninteractive
  apt-get update >/dev/null
  apt-get install -y --no-install-recommends "${missing[@]}" >/dev/null
  echo "installed: ${missing[*]}"
fi
if ! has_new_ffmpeg; then
  rm -rf "$folder" "$folder.unfinished"
  PIP_ROOT_USER_ACTION=ignore python3 -m pip install --quiet --disable-pip-version-check --no-deps \
    --only-binary :all: --target "$folder.unfinished" "$new_ffmpeg"
  mv "$folder.unfinished" "$folder"
  has_new_ffmpeg || { echo "$new_ffmpeg brings no ffmpeg for this machine" >&2; exit 1; }
  echo "installed: $new_ffmpeg in $folder"
fi
echo "all tools are installed"
