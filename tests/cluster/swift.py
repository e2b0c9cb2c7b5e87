"""OpenStack Swift with its S3 interface: one of each server, on loopback, on a plain folder."""

import getpass
import subprocess
import sys
import time
from pathlib import Path
from urllib.error import URLError
from urllib.request import urlopen

from tests.cluster.ray_nodes import free_ports

START_SECONDS = 180
KEY, SECRET = "test:tester", "swift-canary-secret"
SERVERS = ("account", "container", "object", "proxy")

_COMMON = """[DEFAULT]
bind_ip = 127.0.0.1
bind_port = {port}
workers = 0
user = {user}
swift_dir = {folder}
log_address = /nonexistent
"""
_STORAGE = """devices = {folder}/devices
mount_check = false
fallocate_reserve = 0
[pipeline:main]
pipeline = {kind}-server
[app:{kind}-server]
use = egg:swift#{kind}
"""
_PROXY = """[pipeline:main]
pipeline = {pipeline}
[filter:catch_errors]
use = egg:swift#catch_errors
[filter:gatekeeper]
use = egg:swift#gatekeeper
[filter:healthcheck]
use = egg:swift#healthcheck
[filter:cache]
use = egg:swift#memcache
memcache_servers = 127.0.0.1:{memcached}
[filter:listing_formats]
use = egg:swift#listing_formats
[filter:s3api]
use = egg:swift#s3api
location = us-east-1
[filter:tempauth]
use = egg:swift#tempauth
user_test_tester = {secret} .admin
[filter:copy]
use = egg:swift#copy
[filter:slo]
use = egg:swift#slo
[filter:dlo]
use = egg:swift#dlo
[app:proxy-server]
use = egg:swift#proxy
account_autocreate = true
"""
_PIPELINE = (
    "catch_errors gatekeeper healthcheck cache listing_formats s3api tempauth copy slo dlo "
    "proxy-server"
)
_SWIFT = """[swift-hash]
swift_hash_path_suffix = suffix
swift_hash_path_prefix = prefix
[storage-policy:0]
name = one
default = yes
"""


class Swift:
    """A server that can be stopped and started again with all that it holds."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.ports = dict(zip((*SERVERS, "memcached"), free_ports(5), strict=True))
        self.running: list[subprocess.Popen[bytes]] = []
        (folder / "devices" / "d1").mkdir(parents=True)
        (folder / "swift.conf").write_text(_SWIFT)
        for kind in SERVERS:
            common = _COMMON.format(port=self.ports[kind], user=getpass.getuser(), folder=folder)
            if kind == "proxy":
                rest = _PROXY.format(
                    pipeline=_PIPELINE, memcached=self.ports["memcached"], secret=SECRET
                )
            else:
                rest = _STORAGE.format(folder=folder, kind=kind)
                self._ring(kind)
            (folder / f"{kind}-server.conf").write_text(common + rest)
        self.start()

    def _ring(self, kind: str) -> None:
        builder = self.folder / f"{kind}.builder"
        for words in (
            ("create", "2", "1", "1"),
            ("add", f"r1z1-127.0.0.1:{self.ports[kind]}/d1", "1"),
            ("rebalance",),
        ):
            subprocess.run(
                ["swift-ring-builder", builder, *words], check=True, stdout=subprocess.DEVNULL
            )

    def start(self) -> None:
        cache = ["memcached", "-l", "127.0.0.1", "-p", str(self.ports["memcached"]), "-U", "0"]
        commands = [[*cache, "-u", getpass.getuser()]]
        commands += [
            [f"swift-{kind}-server", str(self.folder / f"{kind}-server.conf"), "--verbose"]
            for kind in SERVERS
        ]
        with (self.folder / "servers.log").open("ab") as log:
            self.running = [
                subprocess.Popen(command, stdout=log, stderr=log) for command in commands
            ]
        deadline = time.monotonic() + START_SECONDS
        while time.monotonic() < deadline:
            try:
                with urlopen(f"http://127.0.0.1:{self.ports['proxy']}/healthcheck", timeout=5):
                    return
            except (URLError, ConnectionError):
                time.sleep(0.2)
        print((self.folder / "servers.log").read_text(), file=sys.stderr)
        self.kill()
        raise TimeoutError("Swift does not start")

    def kill(self) -> None:
        """End all servers at once, in the middle of whatever they do."""
        for server in self.running:
            server.kill()
            server.wait()
        self.running = []

    def uri(self, path: str) -> str:
        """The URI of a folder; its bucket is made where it is missing."""
        return (
            f"s3://{path}?scheme=http&endpoint_override=127.0.0.1:{self.ports['proxy']}"
            "&region=us-east-1&allow_bucket_creation=true"
        )

    @property
    def credentials(self) -> dict[str, str]:
        return {
            "AWS_ACCESS_KEY_ID": KEY,
            "AWS_SECRET_ACCESS_KEY": SECRET,
            # Outside a cloud nobody answers there, and asking takes seconds.
            "AWS_EC2_METADATA_DISABLED": "true",
        }
