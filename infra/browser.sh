#!/usr/bin/env bash
# The browser that the slow tests look at pages with: Debian's Chromium.
set -euo pipefail
command -v chromium >/dev/null && exit 0
if [ "$(id -u)" = 0 ] && command -v apt-get >/dev/null; then
    apt-get update -qq && DEBIAN_FRONTEND=noninteractive apt-get install -y -qq chromium >/dev/null
else
    echo "browser tests need chromium: apt-get install chromium" >&2
    exit 2
fi
