"""Encoder, loss, β and width by cross-validation inside the training part: what `auto` means."""

from qnn.training.selection.choice import Choice, choose
from qnn.training.selection.kinds import Kind, Wanted

__all__ = ["Choice", "Kind", "Wanted", "choose"]
