#!/usr/bin/env bash
# systemd-analyze, by which the slow tests check the units of infra/schedule.
set -euo pipefail
command -v systemd-analyze >/dev/null && exit 0
if [ "$(id -u)" = 0 ] && command -v apt-get >/dev/null; then
    apt-get update -qq && DEBIAN_FRONTEND=noninteractive apt-get install -y -qq systemd >/dev/null
else
    echo "schedule tests need systemd-analyze: apt-get install systemd" >&2
    exit 2
fi
