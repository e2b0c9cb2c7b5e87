"""Starting, joining and leaving Ray."""

import logging
import os
import secrets
import signal
import socket
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from pipeline.logs.messages import one_line
from pipeline.sweeps.cluster.agent_ports import agents_at_chosen_ports
from pipeline.sweeps.cluster.deferred import signals_deferred
from qnn.errors import InputError, QnnError

log = logging.getLogger(__name__)

# Seconds after which an address where nobody answers is given up.
CONNECT_SECONDS = 10.0

_SETTINGS = {
    "RAY_USAGE_STATS_ENABLED": "0",
    # A node is there in seconds or not at all: two tries are over in two minutes.
    "RAY_raylet_start_wait_time_s": "40",
    # Its agents and workers are Python programs, which take minutes on a very busy machine.
    "RAY_agent_register_timeout_ms": "300000",
    "RAY_worker_register_timeout_seconds": "300",
    # To join would take as long as a worker's imports, and Ray handles no signal well meanwhile.
    "RAY_prestart_worker_first_driver": "0",
    # Asked to end, its node would wait a minute for idle workers.
    "RAY_GRACEFUL_SHUTDOWN_DRAIN_TIMEOUT_S": "0",
}


class ClusterError(QnnError, RuntimeError):
    """Ray could not be started here."""


@contextmanager
def _environment(address: str | None) -> Iterator[None]:
    """What Ray reads from the environment, as it must be before Ray is imported.

    An embedded Ray listens on all interfaces whatever it is told, so it gets a token of its own in
    a file that only this user can read. To join a running cluster, its own settings are needed:
    `RAY_AUTH_MODE` and `RAY_AUTH_TOKEN_PATH` are then left as they are. A process that imported Ray
    without a token before can have none: Ray reads the mode once, and both sides must agree.
    """
    for name, value in _SETTINGS.items():
        os.environ.setdefault(name, value)
    if address is not None or "RAY_AUTH_MODE" in os.environ:
        yield
        return
    if _imported_without_token():
        log.warning("Ray was imported before the sweep: its ports take no token in this run")
        with _set(RAY_AUTH_MODE="disabled"):
            yield
        return
    with tempfile.TemporaryDirectory(prefix="qnn-") as folder:
        token = Path(folder) / "ray-token"
        descriptor = os.open(token, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        with os.fdopen(descriptor, "w") as stream:
            stream.write(secrets.token_hex(32))
        with _set(RAY_AUTH_MODE="token", RAY_AUTH_TOKEN_PATH=str(token)):
            yield


@contextmanager
def _set(**variables: str) -> Iterator[None]:
    """Variables of the environment for the block; then they are as they were."""
    before = {name: os.environ.get(name) for name in variables}
    os.environ.update(variables)
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                os.environ.pop(name, None)
            else:
                os.environ[name] = value


def _imported_without_token() -> bool:
    if "ray" not in sys.modules:
        return False
    from ray._private.authentication.authentication_utils import is_token_auth_enabled

    return not is_token_auth_enabled()


def check_address(address: str | None) -> None:
    """Raise `InputError` where no sweep can run at this address; nothing is started or joined.

    Ray itself waits for minutes at an address where nobody listens.
    """
    if address is None or address in ("auto", "local"):
        return
    if "://" in address:
        raise InputError(
            f"--address {address}: Ray Client cannot stream results; on a node of the cluster use "
            "--address HOST:PORT (or auto), or submit the command as a Ray job"
        )
    host, _, port = address.rpartition(":")
    if not host or not port.isdecimal() or int(port) > 65535:
        raise InputError(f"--address {address}: give HOST:PORT, or auto on a node of the cluster")
    try:
        socket.create_connection((host.strip("[]"), int(port)), timeout=CONNECT_SECONDS).close()
    except OSError as error:
        raise InputError(
            f"--address {address}: no Ray there ({error.strerror or error}); start it with "
            "`ray start --head`, or leave --address out to start one here"
        ) from None


@contextmanager
def ray_session(address: str | None, cpus: int | None) -> Iterator[None]:
    """A Ray of our own (`address` None), or the one at `address`, for the length of the block.

    Must be entered on the main thread: the kernel ends the embedded Ray's processes together with
    the thread that started them. A Ray that this process has already joined is used and left as
    it is. Ray replaces handlers of signals as it starts and as it ends; the caller's are put back.

    Raises InputError if the Ray at `address` cannot be joined, ClusterError if ours does not start.
    """
    with _environment(address):
        import ray
        from ray._private.authentication.authentication_token_setup import AuthenticationTokenLoader

        if ray.is_initialized():
            yield
            return
        # Ray keeps the token that it read first: an earlier session's, whose file is gone.
        AuthenticationTokenLoader.instance().reset_cache()
        if address is None:
            log.info("starting Ray on this machine (%s)", _load())
        try:
            _start(address, cpus)
        except Exception as error:
            if address is not None:
                raise InputError(
                    f"--address {address}: Ray does not let us in ({one_line(error)}); is it the "
                    "cluster that is meant (`auto` takes any on this machine), and is "
                    "RAY_AUTH_TOKEN_PATH its token?"
                ) from error
            # On a busy machine Ray's own start sometimes runs into one of its time limits.
            log.warning("Ray did not start (%s); trying once more", one_line(error))
            ray.shutdown()
            try:
                _start(address, cpus)
            except Exception as again:
                raise ClusterError(
                    f"Ray did not start, twice: {one_line(again)}; free some CPU and memory "
                    f"({_load()}), or use --address, and run the same command again"
                ) from again
        try:
            yield
        finally:
            ray.shutdown()
            # Ray's C++ half leaves SIGTERM to its default, which kills; Python's handler is still
            # on record and only has to be put back.
            signal.signal(signal.SIGTERM, signal.getsignal(signal.SIGTERM))


def _load() -> str:
    return f"load {os.getloadavg()[0]:.1f} on {os.cpu_count()} processors"


def _start(address: str | None, cpus: int | None) -> None:
    import ray

    with signals_deferred():
        if address is None:
            with agents_at_chosen_ports():
                ray.init(
                    address="local",
                    num_cpus=cpus,
                    include_dashboard=False,
                    log_to_driver=False,
                    logging_level="error",
                )
        else:
            ray.init(address=address, log_to_driver=False, logging_level="error")
