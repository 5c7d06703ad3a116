#!/bin/sh
# Debian's Chromium, headless, for the browser tests of the web page: installed where it is missing
# and we may install it. Never fails: it says why there is none.
found() { command -v chromium >/dev/null || command -v chromium-browser >/dev/null || command -v google-chrome >/dev/null; }
found && exit 0
if ! command -v apt-get >/dev/null; then
  echo "chromium: not here, and no apt-get to install it with; the browser tests are skipped"
  exit 0
fi
if [ "$(id -u)" != 0 ]; then
  echo "chromium: not here, and only root may install it; the browser tests are skipped"
  exit 0
fi
install="apt-get install -y -qq --no-install-recommends chromium"
export DEBIAN_FRONTEND=noninteractive
$install >/dev/null 2>&1 || { apt-get update -qq >/dev/null 2>&1 && $install >/dev/null 2>&1; }
found || echo "chromium: apt-get could not install it; the browser tests are skipped"
