#!/usr/bin/env bash
# The programs that the tests run: real clients. Debian packages, installed if we are root.
set -euo pipefail

packages=(ffmpeg rtmpdump gstreamer1.0-tools gstreamer1.0-plugins-base gstreamer1.0-plugins-good
  gstreamer1.0-plugins-bad gstreamer1.0-plugins-ugly gstreamer1.0-libav mpv)

missing=()
for package in "${packages[@]}"; do
  dpkg-query -W -f '${Status}' "$package" 2>/dev/null | grep -q 'ok installed' || missing+=("$package")
done
if [ ${#missing[@]} -eq 0 ]; then
  echo "all tools are installed"
  exit 0
fi

install="apt-get update && apt-get install -y --no-install-recommends ${missing[*]}"
if [ "$(id -u)" != 0 ]; then
  echo "missing tools; install them with: sudo sh -c '$install'" >&2
  exit 1
fi
DEBIAN_FRONTEND=noninteractive sh -c "$install" >/dev/null
echo "installed: ${missing[*]}"
