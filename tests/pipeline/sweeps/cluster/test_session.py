"""Addresses at which no sweep can run are refused before anything is made."""

import os
import re
import socket
import subprocess
import sys
from pathlib import Path

import pytest

from pipeline.sweeps.cluster.session import ClusterError, check_address, ray_session
from pipeline.sweeps.driver import SweepOptions, run_sweep
from qnn.errors import InputError
from tests.pipeline.small import config_text, small_config


def closed_port() -> int:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return int(listener.getsockname()[1])


def run_without_a_token(code: str) -> subprocess.CompletedProcess[str]:
    """Python code in a process of its own, whose environment says nothing of Ray's tokens."""
    environment = {k: v for k, v in os.environ.items() if not k.startswith("RAY_AUTH")}
    return subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, env=environment
    )


@pytest.mark.parametrize(
    ("address", "message"),
    [
        ("ray://127.0.0.1:9998", "Ray Client cannot stream results; on a node of the cluster use"),
        ("head", "give HOST:PORT, or auto on a node of the cluster"),
        ("head:port", "give HOST:PORT, or auto on a node of the cluster"),
        ("127.0.0.1:70000", "give HOST:PORT, or auto on a node of the cluster"),
    ],
)
def test_addresses_that_cannot_work_are_refused(address: str, message: str) -> None:
    with pytest.raises(InputError, match=f"^--address {address}: {message}"):
        check_address(address)


def test_an_address_where_nobody_listens_is_refused_and_nothing_is_made(tmp_path: Path) -> None:
    address = f"127.0.0.1:{closed_port()}"
    with pytest.raises(InputError, match=f"^--address {address}: no Ray there "):
        run_sweep(small_config(tmp_path), str(tmp_path / "out"), SweepOptions(address=address))
    assert not (tmp_path / "out").exists()


def test_an_open_port_and_rays_own_words_pass() -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        check_address(f"127.0.0.1:{listener.getsockname()[1]}")
    for address in (None, "auto", "local"):
        check_address(address)


def test_the_command_says_so_in_one_line_and_exits_with_2(tmp_path: Path) -> None:
    config = tmp_path / "small.yaml"
    config.write_text(config_text(tmp_path))
    qnn = Path(sys.executable).with_name("qnn")
    command = [qnn, "sweep", config, "--out", tmp_path / "out", "--address", "ray://head:1"]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 2
    assert done.stderr.startswith("error: --address ray://head:1: Ray Client cannot stream results")
    assert done.stderr.count("\n") == 1
    assert not (tmp_path / "out").exists()


@pytest.mark.slow
def test_sigterm_is_handled_after_ray_has_gone() -> None:
    program = """
import os, signal, time
from pipeline.sweeps.cluster.session import ray_session
from pipeline.sweeps.interrupts import Interrupts, SweepInterrupted
with Interrupts("out/run"):
    with ray_session(None, 1):
        pass
    try:
        os.kill(os.getpid(), signal.SIGTERM)
        time.sleep(5)
    except SweepInterrupted as interrupt:
        print("handled", interrupt.exit_code)
"""
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)
    assert done.stdout == "handled 143\n", done.stderr


@pytest.mark.parametrize("failures", [0, 1, 2])
def test_a_ray_that_does_not_start_is_tried_once_more(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, failures: int
) -> None:
    import ray

    caplog.set_level("INFO")

    def init(**options: object) -> None:
        starts.append(options)
        if len(starts) <= failures:
            raise RuntimeError("timed out during startup")

    starts: list[dict[str, object]] = []
    monkeypatch.setattr(ray, "init", init)
    monkeypatch.setattr(ray, "is_initialized", lambda: False)
    monkeypatch.setattr(ray, "shutdown", lambda: None)
    if failures == 2:
        with pytest.raises(ClusterError) as refused, ray_session(None, 1):
            pass
        assert str(refused.value).startswith("Ray did not start, twice: ")
        assert "timed out during startup; free some CPU" in str(refused.value)
        assert re.search(r"\(load \d+\.\d on \d+ processors\)", str(refused.value))
    else:
        with ray_session(None, 1):
            pass
    assert len(starts) == min(failures + 1, 2)
    assert sum("starting Ray on this machine (load " in line for line in caplog.messages) == 1


def test_a_cluster_that_refuses_us_is_a_wrong_address(monkeypatch: pytest.MonkeyPatch) -> None:
    import ray

    def init(**options: object) -> None:
        raise ConnectionError("Failed to connect to Ray cluster at 10.0.0.1:6379")

    monkeypatch.setattr(ray, "init", init)
    monkeypatch.setattr(ray, "is_initialized", lambda: False)
    with pytest.raises(InputError) as refused, ray_session("auto", None):
        pass
    assert str(refused.value).startswith(
        "--address auto: Ray does not let us in (Failed to connect to Ray cluster at 10.0.0.1:6379)"
    )


def test_a_process_that_knows_ray_already_starts_it_without_a_token() -> None:
    code = (
        "import os, ray\n"
        "from pipeline.sweeps.cluster.session import ray_session\n"
        "with ray_session(None, 1):\n"
        "    print(os.environ['RAY_AUTH_MODE'], ray.get(ray.remote(lambda: 7).remote()))\n"
        "print(os.environ.get('RAY_AUTH_MODE'))\n"
    )
    done = run_without_a_token(code)
    assert done.stdout.split() == ["disabled", "7", "None"], done.stderr


@pytest.mark.slow
def test_a_process_starts_one_ray_after_another() -> None:
    code = (
        "import os\n"
        "from pipeline.sweeps.cluster.session import ray_session\n"
        "for _ in range(2):\n"
        "    with ray_session(None, 1):\n"
        "        import ray\n"
        "        with ray_session(None, 1):\n"
        "            pass\n"
        "        print(os.environ['RAY_AUTH_MODE'], ray.get(ray.remote(lambda: 7).remote()))\n"
    )
    done = run_without_a_token(code)
    assert done.stdout.split() == ["token", "7"] * 2, done.stderr


def test_a_ray_of_ones_own_gets_a_token_that_nobody_else_reads_and_that_is_forgotten() -> None:
    code = (
        "import os, stat\n"
        "from pathlib import Path\n"
        "from pipeline.sweeps.cluster.session import _environment\n"
        "os.environ.pop('RAY_AUTH_MODE', None)\n"
        "with _environment(None):\n"
        "    token = Path(os.environ['RAY_AUTH_TOKEN_PATH'])\n"
        "    print(os.environ['RAY_AUTH_MODE'], oct(stat.S_IMODE(token.stat().st_mode)))\n"
        "    print(len(token.read_text()))\n"
        "print(token.exists(), [name for name in os.environ if name.startswith('RAY_AUTH')])\n"
        "os.environ['RAY_AUTH_TOKEN_PATH'] = 'mine'\n"
        "with _environment(None):\n"
        "    pass\n"
        "print(os.environ['RAY_AUTH_TOKEN_PATH'])\n"
    )
    done = run_without_a_token(code)
    assert done.stdout == "token 0o600\n64\nFalse []\nmine\n", done.stderr
