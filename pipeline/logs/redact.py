"""Secrets kept out of whatever is shown: reports, tracking parameters, messages, errors in results.

Storage URIs may carry keys (`s3://KEY:SECRET@bucket`), also where the // was forgotten, and an
error text may repeat them. The environment variables that hold secrets by their name are also
searched for by their value.
"""

from __future__ import annotations

import os
import re

HIDDEN = "***"

# To the last @ of the authority. Without one there it is a key that holds slashes, as AWS's may,
# which nobody escaped: `user:` up to the last @ of the word, which a port is not.
_USER = re.compile(
    r"(?P<scheme>[a-zA-Z][a-zA-Z0-9+.-]*://)"
    r"(?:[^/\s'\"]+|[^/\s@:\['\"]*:(?!\d*/)[^\s'\"]+)@"
)
# The same without //, and without a scheme at all. No path is one: in a path a / follows the colon,
# as in MLflow's `models:/name@alias`, or what is before the colon is no word of its own.
_BARE = re.compile(r"(?<![\w./@:+%-])[\w.+%-]+:[^\s'\"/@][^\s'\"]{0,300}@(?=[\w\[])")
_QUERY = re.compile(
    r"(?P<key>[?&][\w.-]*(?:secret|token|password|passwd|credential|signature|key|sig)[\w.-]*=)"
    r"[^&\s'\"]+",
    re.IGNORECASE,
)
_SECRET_NAME = re.compile(
    r"SECRET|TOKEN|PASSWORD|PASSWD|ACCESS_KEY|API_KEY|CREDENTIAL", re.IGNORECASE
)
_LEAST_LENGTH = 8


def redact(text: str) -> str:
    """`text` with the credentials in URIs, and every secret of the environment, as `***`."""
    text = _USER.sub(rf"\g<scheme>{HIDDEN}@", text)
    text = _BARE.sub(f"{HIDDEN}@", text)
    text = _QUERY.sub(rf"\g<key>{HIDDEN}", text)
    for secret in _environment_secrets():
        text = text.replace(secret, HIDDEN)
    return text


def is_secret_name(name: str) -> bool:
    """Whether an environment variable of this name holds a secret by its value."""
    return bool(_SECRET_NAME.search(name)) and not name.upper().endswith(("_PATH", "_FILE"))


def _environment_secrets() -> list[str]:
    found = [
        value
        for name, value in os.environ.items()
        if is_secret_name(name)
        # Shorter values ("token", "1") are settings, and hiding them would garble plain words.
        and len(value) >= _LEAST_LENGTH
    ]
    return sorted(found, key=len, reverse=True)
