"""Where problems over pairs of variables come from: a file, or a name of the Biq Mac library."""

from __future__ import annotations

import os
import re
from typing import TYPE_CHECKING

from qnn.errors import InputError

if TYPE_CHECKING:
    # It brings the compiler.
    from qnn.moments.csp import MaxCSP

_NAME = re.compile(r"[a-z0-9]+_[0-9]+\.[0-9]+")


def read_problem(source: str) -> MaxCSP:
    """The problem of a file, or else of a name as g05_60.0. Raises InputError for neither."""
    from qnn.moments.csp import read, rudy

    if os.path.isdir(source):
        raise InputError(f"{source}: is a folder; give a file in rudy's format or a .wcsp file")
    if os.path.exists(source):
        return read(source)
    if _NAME.fullmatch(source):
        return rudy(source)
    raise InputError(f"{source}: no such file, and no name of an instance, as g05_60.0")
