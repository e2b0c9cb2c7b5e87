"""Ports of an embedded Ray's agents, chosen before it starts.

A node of Ray waits 15 s for each port that an agent, a Python program, chooses itself, and then
dies, whatever its settings say: on a busy machine the imports of agents alone take longer. For a
port that it is told it does not wait. `ray start` has options for most, `ray.init` for none.
"""

import inspect
import random
import socket
from collections.abc import Iterator
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
        if len(ports) < count and _is_free(port):
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
    agent alone, by the file for which it would wait.
    """
    from ray._private import services
    from ray._raylet import (  # type: ignore[attr-defined]
        DASHBOARD_AGENT_LISTEN_PORT_NAME,
        persist_port,
    )

    start = services.start_raylet
    ports = dict(zip(_AGENTS, free_ports(len(_AGENTS)), strict=True))

    def start_raylet(*arguments: object, **options: object) -> object:
        options.update(ports)
        given = inspect.signature(start).bind(*arguments, **options).arguments
        listening = ports["dashboard_agent_listen_port"]
        persist_port(
            given["session_dir"], given["node_id"], DASHBOARD_AGENT_LISTEN_PORT_NAME, listening
        )
        return start(*arguments, **options)

    services.start_raylet = start_raylet
    try:
        yield
    finally:
        services.start_raylet = start
