import os
import subprocess
import sys
from importlib.metadata import version


def test_the_version_is_that_of_the_package() -> None:
    done = subprocess.run(
        [sys.executable, "-m", "pipeline", "--version"],
        capture_output=True,
        text=True,
        env=os.environ,
    )
    assert (done.returncode, done.stdout) == (0, f"qnn {version('qnn-sdp')}\n")
