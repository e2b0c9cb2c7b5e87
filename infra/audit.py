"""Are the installed packages the pinned ones, and is anything known against them?

    python infra/audit.py [--require]

Exit codes: 0 nothing found (or, said so, no advisories within reach); 1 a package off its pin, or
with a known vulnerability; 3 with --require, where the advisories cannot be reached.
"""

import json
import re
import subprocess
import sys
from importlib.metadata import distributions
from pathlib import Path

CONSTRAINTS = Path(__file__).parents[1] / "constraints.txt"
# What makes the environment, and this package itself.
UNPINNED = {"pip", "setuptools", "wheel", "qnn-sdp"}
FOUND, UNREACHABLE = 1, 3


def canonical(name: str) -> str:
    """The one spelling of a package's name."""
    return re.sub(r"[-_.]+", "-", name).lower()


def read_pins() -> dict[str, str]:
    """The pinned version of each package; raises `ValueError` on a line that pins nothing."""
    pins = {}
    for line in CONSTRAINTS.read_text().splitlines():
        name, equals, version = line.partition("==")
        if not equals:
            raise ValueError(f"{CONSTRAINTS.name}: '{line}' is not name==version")
        pins[canonical(name)] = version.strip()
    return pins


def differences(pins: dict[str, str]) -> list[str]:
    """What is installed and not pinned, or at another version."""
    wrong = []
    for distribution in distributions():
        name = canonical(distribution.metadata["Name"])
        pinned = pins.get(name)
        if name not in UNPINNED and pinned != distribution.version:
            wrong.append(f"{name} {distribution.version} (pinned: {pinned})")
    return sorted(set(wrong))


def advisories() -> list[str] | None:
    """Known vulnerabilities of the pins, a line each; None where nobody could be asked."""
    done = subprocess.run(
        [
            *(sys.executable, "-m", "pip_audit", "--no-deps", "--disable-pip"),
            *("--progress-spinner", "off", "--format", "json", "--requirement", str(CONSTRAINTS)),
        ],
        capture_output=True,
        text=True,
    )
    try:
        asked = json.loads(done.stdout)["dependencies"]
    except (ValueError, KeyError):
        return None
    if all("skip_reason" in one for one in asked):
        return None
    return [
        f"{one['name']} {one['version']}: {bug['id']}, fixed in {bug['fix_versions'] or 'nothing'}"
        for one in asked
        for bug in one.get("vulns", ())
    ]


def main() -> int:
    """Print what was found; return the exit code."""
    wrong = differences(read_pins())
    for line in wrong:
        print(f"off its pin: {line}")
    known = advisories()
    if known is None:
        print("audit: NOT AUDITED: no advisories within reach (PyPI's or OSV's)")
        return FOUND if wrong else UNREACHABLE if "--require" in sys.argv else 0
    for line in known:
        print(f"vulnerable: {line}")
    print(f"audit: {len(wrong)} packages off their pins, {len(known)} known vulnerabilities")
    return FOUND if wrong or known else 0


if __name__ == "__main__":
    sys.exit(main())
