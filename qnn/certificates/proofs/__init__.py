"""The kinds of proof of a training problem's bound, one a file or folder, found by its name.

Each says how it stands in a file and proves that its dual point is feasible; see `Proof`.
"""

from collections.abc import Iterator, Mapping
from functools import cache
from importlib import import_module
from pkgutil import iter_modules

from qnn.certificates.proofs.base import Proof
from qnn.errors import CertificateError

__all__ = ["PROOFS", "Proof", "proof_of"]


class _Files(Mapping[str, type[Proof]]):
    """The classes of proofs by name, which is that of the file."""

    def __getitem__(self, name: str) -> type[Proof]:
        return _classes()[name]

    def __iter__(self) -> Iterator[str]:
        return iter(_classes())

    def __len__(self) -> int:
        return len(_classes())


@cache
def _classes() -> dict[str, type[Proof]]:
    names = sorted({module.name for module in iter_modules(__path__)} - {"base"})
    return {name: _class_in(name) for name in names}


def _class_in(name: str) -> type[Proof]:
    module = import_module(f"{__name__}.{name}")
    for found in vars(module).values():
        # By its own name: a file may import the proof that its own is made from.
        if isinstance(found, type) and issubclass(found, Proof) and found.name == name:
            return found
    raise TypeError(f"{module.__file__}: it has no proof named {name!r}")


PROOFS: Mapping[str, type[Proof]] = _Files()


def proof_of(kind: str, method: str | None, compressed: bool) -> type[Proof]:
    """The class of a file's proof; ``compressed``: whether its dual point is stored as a matrix.

    Raises CertificateError where there is none.
    """
    classes = [found for found in PROOFS.values() if found.compressed == compressed]
    of_kind = [found for found in classes if found.kind == kind]
    if not of_kind:
        raise CertificateError(f"unknown kind of certificate {kind!r}")
    for found in of_kind:
        if found.method == method:
            return found
    raise CertificateError(f"unknown method of proof {method!r}")
