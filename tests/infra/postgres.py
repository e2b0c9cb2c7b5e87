"""A PostgreSQL server on loopback, with passwords, on a folder of its own."""

import os
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tests.cluster.ray_nodes import free_ports

PASSWORD = "postgres-canary-password"


@contextmanager
def postgres() -> Iterator[str]:
    """Two empty databases, `mlflow` and `mlflow_users`. Yields the URI up to the database's name.

    PostgreSQL refuses to run as root: then all is run as the user that Debian's package makes.
    """
    programs = sorted(Path("/usr/lib/postgresql").glob("*/bin"))[-1]
    # Not pytest's folder, which other users may not enter.
    folder = Path(tempfile.mkdtemp(prefix="pg-"))
    owner = "postgres" if os.geteuid() == 0 else None
    (folder / "password").write_text(PASSWORD)
    if owner:
        for place in (folder, folder / "password"):
            shutil.chown(place, owner)
    (port,) = free_ports(1)

    def call(program: str, *words: object) -> None:
        command = [str(programs / program), *map(str, words)]
        environment = {**os.environ, "PGPASSWORD": PASSWORD}
        subprocess.run(
            command, check=True, user=owner, cwd=folder, env=environment, stdout=subprocess.DEVNULL
        )

    data = folder / "data"
    try:
        call("initdb", "-D", data, "-U", "mlflow", "-A", "scram-sha-256",
             "--pwfile", folder / "password", "-E", "UTF8")  # fmt: skip
        options = (
            f"-c listen_addresses=127.0.0.1 -c port={port} -c unix_socket_directories={folder}"
        )
        call("pg_ctl", "-D", data, "-l", folder / "log", "-o", options, "-w", "start")
        try:
            for name in ("mlflow", "mlflow_users"):
                call("createdb", "-h", "127.0.0.1", "-p", port, "-U", "mlflow", name)
            yield f"postgresql+psycopg2://mlflow:{PASSWORD}@127.0.0.1:{port}"
        finally:
            call("pg_ctl", "-D", data, "-m", "immediate", "stop")
    finally:
        shutil.rmtree(folder, ignore_errors=True)
