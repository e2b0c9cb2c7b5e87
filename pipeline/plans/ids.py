"""Ids that follow from content alone, the same everywhere and in every study."""

from __future__ import annotations

import hashlib
import json
from typing import Any

ID_LENGTH = 16


def digest_of(content: Any, length: int = ID_LENGTH) -> str:
    """The first digits of the SHA-256 of plain values as JSON."""
    text = json.dumps(content, sort_keys=True, separators=(",", ":"), allow_nan=False)
    return hashlib.sha256(text.encode()).hexdigest()[:length]
