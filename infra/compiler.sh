#!/usr/bin/env bash
# The compiler that the slow tests build exported C networks with.
set -euo pipefail
command -v gcc >/dev/null && exit 0
if [ "$(id -u)" = 0 ] && command -v apt-get >/dev/null; then
    apt-get update -qq && DEBIAN_FRONTEND=noninteractive apt-get install -y -qq gcc libc6-dev >/dev/null
else
    echo "tests of exported C need gcc: apt-get install gcc libc6-dev" >&2
    exit 2
fi
