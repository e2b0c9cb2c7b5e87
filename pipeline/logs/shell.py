"""Commands as one types them into a shell."""

import shlex


def verify_line(*paths: str, within: str = "", data: str | None = None) -> str:
    """The command `qnn verify` of files and folders, each quoted where a shell asks for it.

    `within` is a pattern of files in each folder, left for the shell to fill in ("row-*.npz");
    `data` is the file that the proofs are about, where it does not lie beside them.
    """
    quoted = [shlex.quote(path) for path in paths]
    if within:
        quoted = [f"{path}/{within}" for path in quoted]
    about = [] if data is None else ["--data", shlex.quote(data)]
    return " ".join(["qnn", "verify", *quoted, *about])
