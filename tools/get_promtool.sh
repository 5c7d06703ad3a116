#!/bin/sh
# promtool, which judges figures and alert rules, out of Debian's package: unpacked into the virtual
# environment, nothing is installed. Never fails: it says why there is none.
bin="${1:-.venv/bin}"
if [ -x "$bin/promtool" ] || command -v promtool >/dev/null; then
  exit 0
fi
if ! command -v apt-get >/dev/null || ! command -v dpkg-deb >/dev/null; then
  echo "promtool: not here, and no apt-get to fetch it with; its tests are skipped"
  exit 0
fi
target=$(cd "$bin" && pwd)
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
chmod 755 "$folder"
cd "$folder" || exit 0
get() { apt-get download -qq prometheus >/dev/null 2>&1; }
get || { apt-get update -qq >/dev/null 2>&1 && get; }
if dpkg-deb -x prometheus_*.deb unpacked 2>/dev/null && cp unpacked/usr/bin/promtool "$target/"; then
  exit 0
fi
echo "promtool: apt-get could not fetch it; its tests are skipped"
