#!/usr/bin/env bash
# PostgreSQL, on which the slow tests run MLflow's server. Nothing is started: the tests run a server
# of their own on loopback.
set -euo pipefail
compgen -G '/usr/lib/postgresql/*/bin/initdb' >/dev/null && exit 0
if [ "$(id -u)" = 0 ] && command -v apt-get >/dev/null; then
    apt-get update -qq
    RUNLEVEL=1 DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends \
        postgresql >/dev/null
else
    echo "tests of MLflow's server need: apt-get install postgresql" >&2
    exit 2
fi
