#!/usr/bin/env bash
# The S3-compatible server that the slow tests write to: OpenStack Swift with its S3 interface. Its
# packages are installed but nothing is started: the tests run servers of their own on loopback.
set -euo pipefail
there() {
    local server
    for server in swift-{proxy,account,container,object}-server memcached; do
        command -v "$server" >/dev/null || return 1
    done
}
there && exit 0
if [ "$(id -u)" = 0 ] && command -v apt-get >/dev/null; then
    apt-get update -qq
    RUNLEVEL=1 DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends \
        swift-proxy swift-account swift-container swift-object memcached >/dev/null
else
    echo "object store tests need: apt-get install swift-proxy swift-account swift-container" \
        "swift-object memcached" >&2
    exit 2
fi
