"""Ports of an embedded Ray's agents, chosen before it starts.

A node of Ray waits 15 s for each port that an agent, a Python program, chooses itself, and then
dies, whatever its settings say: on a busy machine the imports of agents alone take longer. For a
port that it is told it does not wait. `ray start` has options for most, `ray.init` for none.
"""

import inspect
import random
import socket
from collections.abc import Callable, Iterator
from contextlib import contextmanager

# Above the workers of a cluster's node (10002-19999), below what kernels hand out themselves.
_PORTS = range(20_000, 32_768)
_AGENTS = (
    "metrics_agent_port",
    "metrics_export_port",
    "runtime_env_agent_port",
    "dashboard_agent_listen_port",
)


def free_ports(count: int) -> list[int]:
    """So many ports of this machine at which nobody listens."""
    ports: list[int] = []
    for port in random.SystemRandom().sample(_PORTS, len(_PORTS)):
        if len(ports) == count:
            break
        if _is_free(port):
            ports.append(port)
    return ports


def _is_free(port: int) -> bool:
    with socket.socket() as listener:
        try:
            listener.bind(("", port))
        except OSError:
            return False
    return True


@contextmanager
def agents_at_chosen_ports() -> Iterator[None]:
    """Within the block, `ray.init` tells the node that it starts where its agents will listen.

    The node hears three of them by its command line, and of the fourth, which Ray passes to the
    agent alone, by the file for which it would wait. A Ray that starts its node in another way
    than this one knows is left alone: its agents choose their ports.
    """
    start = _starter()
    if start is None:
        yield
        return
    from ray import _raylet
    from ray._private import services

    ports = dict(zip(_AGENTS, free_ports(len(_AGENTS)), strict=True))

    def start_raylet(*arguments: object, **options: object) -> object:
        options.update(ports)
        given = inspect.signature(start).bind(*arguments, **options).arguments
        listening = ports["dashboard_agent_listen_port"]
        name = _raylet.DASHBOARD_AGENT_LISTEN_PORT_NAME  # type: ignore[attr-defined]
        _raylet.persist_port(  # type: ignore[attr-defined]
            given["session_dir"], given["node_id"], name, listening
        )
        return start(*arguments, **options)

    services.start_raylet = start_raylet
    try:
        yield
    finally:
        services.start_raylet = start


def _starter() -> Callable[..., object] | None:
    """What Ray starts a node with; None where it does not take what we would tell it."""
    try:
        from ray import _raylet
        from ray._private import services

        start: Callable[..., object] = services.start_raylet
    except (ImportError, AttributeError):
        return None
    told = {*_AGENTS, "session_dir", "node_id"} <= set(inspect.signature(start).parameters)
    persists = all(
        hasattr(_raylet, name) for name in ("DASHBOARD_AGENT_LISTEN_PORT_NAME", "persist_port")
    )
    return start if told and persists else None
