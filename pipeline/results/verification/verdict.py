"""A verdict on one file; any fault of a file is a line, never a traceback."""

from collections.abc import Callable
from dataclasses import dataclass

from pipeline.logs.messages import one_line


@dataclass(frozen=True)
class Check:
    """The verdict on one file: a line of `qnn verify`.

    `proven` is False where a long proof was skipped, as asked, and all else is right.
    """

    file: str
    ok: bool
    text: str
    proven: bool = True

    @property
    def line(self) -> str:
        """`ok    networks/….npz  objective …`."""
        verdict = "FAIL" if not self.ok else "ok  " if self.proven else "skip"
        return f"{verdict}  {self.file}  {self.text}"


class Failure(Exception):
    """Why a file is not what it claims to be; one line."""


class Skipped(Exception):
    """What was not proven again, where everything else is right; one line."""


def judge(file: str, check: Callable[[str], str]) -> Check:
    """The verdict of a check that returns what it found right and raises what is wrong."""
    try:
        return Check(file, True, check(file))
    except Failure as failure:
        return Check(file, False, str(failure))
    except Skipped as skipped:
        return Check(file, True, str(skipped), proven=False)
    except FileNotFoundError:
        return Check(file, False, "the file is missing")
    except Exception as error:  # damaged files make readers raise errors of any kind
        return Check(file, False, fault(error).removeprefix(f"{file}: "))


def fault(error: Exception) -> str:
    """What an error says of a file, in a line; of what kind it is, where none of ours."""
    return one_line(str(error) if isinstance(error, ValueError) else error)
