"""The losses, one a file; see docs/adding_a_loss.md."""

from collections.abc import Iterator, Mapping
from importlib import import_module
from pkgutil import iter_modules

from qnn.errors import InputError
from qnn.losses.base import Loss, MarginLoss

__all__ = ["LOSSES", "Loss", "MarginLoss", "get_loss", "takes_parameter"]


class _Files(Mapping[str, type[Loss]]):
    """The classes of losses by name, which is that of the file; imported when asked for."""

    def __init__(self) -> None:
        found = {module.name for module in iter_modules(__path__)}
        self._names = sorted(found - {"base"})

    def __getitem__(self, name: str) -> type[Loss]:
        if name not in self._names:
            raise KeyError(name)
        module = import_module(f"{__name__}.{name}")
        for found in vars(module).values():
            # By its own name: a file may import the loss that its own is made from.
            own = vars(found).get("name") if isinstance(found, type) else None
            if own == name and issubclass(found, Loss):
                return found
        raise TypeError(f"{module.__file__}: it has no loss named {name!r}")

    def __iter__(self) -> Iterator[str]:
        return iter(self._names)

    def __len__(self) -> int:
        return len(self._names)


LOSSES: Mapping[str, type[Loss]] = _Files()


def get_loss(name: str | Loss, parameter: float | None = None) -> Loss:
    """The loss of this name; ``parameter``, as Huber's delta, is the loss's own where None."""
    if isinstance(name, Loss):
        return name
    if name not in LOSSES:
        raise InputError(f"loss {name!r} is not known: choose one of {', '.join(LOSSES)}")
    if parameter is not None and not takes_parameter(name):
        raise InputError(f"loss {name!r} takes no parameter (got {parameter})")
    return LOSSES[name](parameter)


def takes_parameter(name: str) -> bool:
    """Whether the loss of this name has a number of its own, as Huber's delta."""
    return LOSSES[name].parameter is not None
