"""The losses, one a file."""

from qnn.errors import InputError
from qnn.losses.absolute import Absolute
from qnn.losses.base import Loss, MarginLoss
from qnn.losses.hinge import Hinge
from qnn.losses.huber import Huber
from qnn.losses.logistic import Logistic
from qnn.losses.squared import Squared
from qnn.losses.squared_hinge import SquaredHinge

__all__ = ["LOSSES", "Loss", "MarginLoss", "Squared", "get_loss"]

LOSSES: dict[str, type[Loss]] = {
    loss.name: loss for loss in (Squared, Logistic, Hinge, SquaredHinge, Huber, Absolute)
}


def get_loss(name: str | Loss, parameter: float | None = None) -> Loss:
    """The loss of this name; ``parameter`` is Huber's delta (units of y) and nobody else's."""
    if isinstance(name, Loss):
        return name
    if name not in LOSSES:
        raise InputError(f"loss {name!r} is not known: choose one of {', '.join(LOSSES)}")
    if name == Huber.name:
        return Huber() if parameter is None else Huber(parameter)
    if parameter is not None:
        raise InputError(f"loss {name!r} takes no parameter (got {parameter})")
    return LOSSES[name]()
