"""A Ray cluster of several nodes on this machine, with token authentication, as real processes."""

import os
import secrets
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import requests

BIN = Path(sys.executable).parent
START_SECONDS = 180


def free_ports(count: int) -> list[int]:
    sockets = [socket.socket() for _ in range(count)]
    try:
        for one in sockets:
            one.bind(("127.0.0.1", 0))
        return [one.getsockname()[1] for one in sockets]
    finally:
        for one in sockets:
            one.close()


class RayNodes:
    """A head on loopback ports of its own, and nodes that join it; ended by their own ids.

    `folder` must have a short path: Ray's sockets lie under it. The processes find this package's
    Python first on their PATH, as on nodes where Ray is started from its environment.
    """

    def __init__(self, folder: Path, cpus: int = 1) -> None:
        self.folder = folder
        port, dashboard, client, agent, metrics = free_ports(5)
        self.address = f"127.0.0.1:{port}"
        self.dashboard = f"http://127.0.0.1:{dashboard}"
        self.metrics = f"http://127.0.0.1:{metrics}/metrics"
        self.token_file = folder / "token"
        self.token = secrets.token_hex(32)
        self.token_file.write_text(self.token)
        self.token_file.chmod(0o600)
        self.environment = {
            **{name: value for name, value in os.environ.items() if not name.startswith("RAY_")},
            "PATH": f"{BIN}:{os.environ['PATH']}",
            "RAY_AUTH_MODE": "token",
            "RAY_AUTH_TOKEN_PATH": str(self.token_file),
            "RAY_USAGE_STATS_ENABLED": "0",
            "RAY_raylet_start_wait_time_s": "180",
        }
        self._sessions: list[subprocess.Popen[bytes]] = []
        self.head = self._start(
            cpus,
            "--head",
            f"--port={port}",
            "--dashboard-host=127.0.0.1",
            f"--dashboard-port={dashboard}",
            f"--dashboard-agent-listen-port={agent}",
            f"--ray-client-server-port={client}",
            f"--metrics-export-port={metrics}",
            f"--temp-dir={folder}",
        )
        self._wait()

    def _start(self, cpus: int, *arguments: str) -> "subprocess.Popen[bytes]":
        with (self.folder / f"start-{len(self._sessions)}.log").open("wb") as log:
            node = subprocess.Popen(
                [BIN / "ray", "start", "--block", f"--num-cpus={cpus}", *arguments],
                stdout=log,
                stderr=subprocess.STDOUT,
                env=self.environment,
                start_new_session=True,
            )
        self._sessions.append(node)
        return node

    def _wait(self) -> None:
        deadline = time.monotonic() + START_SECONDS
        while time.monotonic() < deadline:
            try:
                if requests.get(f"{self.dashboard}/api/version", timeout=5).status_code == 401:
                    return
            except requests.exceptions.ConnectionError:
                time.sleep(0.5)
        log = (self.folder / "start-0.log").read_text()
        raise TimeoutError(f"no Ray at {self.dashboard} after {START_SECONDS} s:\n{log}")

    def add(self, cpus: int = 1) -> "subprocess.Popen[bytes]":
        """Start another node; returns at once."""
        agent, metrics = free_ports(2)
        # Nodes unpack what a job ships under their folder: in one folder they would undo each
        # other's work, which no two machines can.
        folder = self.folder / f"n{len(self._sessions)}"
        folder.mkdir()
        return self._start(
            cpus,
            f"--address={self.address}",
            f"--temp-dir={folder}",
            f"--dashboard-agent-listen-port={agent}",
            f"--metrics-export-port={metrics}",
        )

    def nodes(self) -> int:
        """The number of nodes that are alive, as the cluster sees them."""
        headers = {"Authorization": f"Bearer {self.token}"}
        answer = requests.get(f"{self.dashboard}/api/v0/nodes", headers=headers, timeout=30)
        found = answer.json()["data"]["result"]["result"]
        return sum(node["state"] == "ALIVE" for node in found)

    def kill(self, node: "subprocess.Popen[bytes]") -> None:
        """End a node at once, with all its processes."""
        for pid in _descendants(node.pid):
            _kill(pid)
        node.wait()

    def close(self) -> None:
        for node in self._sessions:
            if node.poll() is None:
                self.kill(node)
        # Ray's processes detach from their parents; all carry this cluster's folder or address.
        for pid in _mentioning(str(self.folder), self.address):
            _kill(pid)

    def qnn(self, *arguments: object, seconds: float = 300) -> "subprocess.CompletedProcess[str]":
        """Run the command `qnn` with this cluster's token."""
        return subprocess.run(
            [str(BIN / "qnn"), *map(str, arguments)],
            capture_output=True,
            text=True,
            env=self.environment,
            timeout=seconds,
        )


def _kill(pid: int) -> None:
    try:
        os.kill(pid, signal.SIGKILL)
    except ProcessLookupError:
        return


def _processes() -> dict[int, tuple[int, str]]:
    """Parent and command line of every process."""
    found = {}
    for entry in Path("/proc").iterdir():
        if not entry.name.isdecimal():
            continue
        try:
            parent = int((entry / "stat").read_text().rpartition(")")[2].split()[1])
            line = (entry / "cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace")
        except (FileNotFoundError, ProcessLookupError):
            continue
        found[int(entry.name)] = (parent, line)
    return found


def _descendants(root: int) -> list[int]:
    processes, tree = _processes(), [root]
    for pid in tree:
        tree.extend(child for child, (parent, _) in processes.items() if parent == pid)
    return tree


def _mentioning(*texts: str) -> list[int]:
    own = os.getpid()
    return [
        pid
        for pid, (_, line) in _processes().items()
        if pid != own and any(text in line for text in texts)
    ]
