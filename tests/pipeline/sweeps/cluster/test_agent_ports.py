"""An embedded Ray starts however long its agents take: it is told where they will listen."""

import os
import socket
import subprocess
import sys
from pathlib import Path

import pytest

from pipeline.sweeps.cluster import agent_ports
from pipeline.sweeps.cluster.agent_ports import agents_at_chosen_ports, free_ports


def test_ports_where_somebody_listens_are_not_chosen(monkeypatch: pytest.MonkeyPatch) -> None:
    taken, free, other = free_ports(3)
    assert len({taken, free, other}) == 3
    monkeypatch.setattr(agent_ports, "_PORTS", [taken, free, other])
    with socket.create_server(("127.0.0.1", taken)):
        assert sorted(free_ports(2)) == sorted([free, other])


def test_a_node_is_told_every_port_for_which_it_would_wait(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from ray._private import services

    def start_raylet(
        session_dir: str,
        node_id: str,
        metrics_agent_port: int,
        metrics_export_port: int,
        runtime_env_agent_port: int,
        dashboard_agent_listen_port: int,
    ) -> str:
        agents = (metrics_agent_port, metrics_export_port, runtime_env_agent_port)
        every = (*agents, dashboard_agent_listen_port)
        told.append(dict(zip(agent_ports._AGENTS, every, strict=True)))
        return "started"

    told: list[dict[str, int]] = []
    monkeypatch.setattr(services, "start_raylet", start_raylet)
    with agents_at_chosen_ports():
        # As a node calls it that chose no port.
        assert services.start_raylet(str(tmp_path), "0" * 56, metrics_agent_port=0) == "started"
    assert services.start_raylet is start_raylet
    (ports,) = told
    assert set(ports) == set(agent_ports._AGENTS)
    assert len(set(ports.values())) == 4
    assert all(port in agent_ports._PORTS for port in ports.values())
    (file,) = tmp_path.iterdir()
    assert file.read_text() == str(ports["dashboard_agent_listen_port"])


def test_a_ray_that_starts_its_node_in_another_way_is_left_alone(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    from ray._private import services

    def start_raylet(session: str, node: str) -> str:
        return "started"

    monkeypatch.setattr(services, "start_raylet", start_raylet)
    with agents_at_chosen_ports():
        assert services.start_raylet is start_raylet
    monkeypatch.delattr(services, "start_raylet")
    with agents_at_chosen_ports():
        assert not hasattr(services, "start_raylet")


SLOW_AGENTS = """
import time
line = open("/proc/self/cmdline").read()
if "dashboard/agent.py" in line or "runtime_env/agent" in line:
    time.sleep(90)
"""


@pytest.mark.slow
def test_ray_starts_before_its_agents_do(tmp_path: Path) -> None:
    """A busy machine by other means: agents that take 90 s where Ray's own patience is 15."""
    (tmp_path / "sitecustomize.py").write_text(SLOW_AGENTS)
    program = (
        "from pipeline.sweeps.cluster.session import ray_session\n"
        "with ray_session(None, 1):\n"
        "    import ray\n"
        "    print(ray.get(ray.remote(lambda: 7).remote()))\n"
    )
    path = os.pathsep.join([str(tmp_path), *filter(None, sys.path)])
    environment = {key: value for key, value in os.environ.items() if "RAY_AUTH" not in key}
    done = subprocess.run(
        [sys.executable, "-c", program],
        capture_output=True,
        text=True,
        env={**environment, "PYTHONPATH": path},
    )
    assert done.stdout == "7\n", done.stderr
    assert "trying once more" not in done.stderr
