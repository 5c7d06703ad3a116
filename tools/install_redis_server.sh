#!/bin/sh
# Debian's redis-server, which speaks TLS, for the tests of TLS: installed where it is missing and
# we may install it. Its system service is never started. Never fails: it says why there is none.
if command -v redis-server >/dev/null && command -v openssl >/dev/null; then
  exit 0
fi
if ! command -v apt-get >/dev/null; then
  echo "redis-server: not here, and no apt-get to install it with; the tests of TLS are skipped"
  exit 0
fi
if [ "$(id -u)" != 0 ]; then
  echo "redis-server: not here, and only root may install it; the tests of TLS are skipped"
  exit 0
fi

# What a package's installation would start asks this file first: 101 means "not allowed".
policy=/usr/sbin/policy-rc.d
if [ ! -e "$policy" ]; then
  trap 'rm -f "$policy"' EXIT
  printf '#!/bin/sh\nexit 101\n' >"$policy" && chmod +x "$policy"
fi
install="apt-get install -y -qq --no-install-recommends redis-server openssl"
export DEBIAN_FRONTEND=noninteractive
$install >/dev/null 2>&1 || { apt-get update -qq >/dev/null 2>&1 && $install >/dev/null 2>&1; }
command -v redis-server >/dev/null ||
  echo "redis-server: apt-get could not install it; the tests of TLS are skipped"
