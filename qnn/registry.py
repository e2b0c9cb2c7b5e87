"""Registries: a vocabulary's members by name, in the order in which they are offered.

They cost no heavy import, so that a sweep can be read and planned without the solvers' libraries:
what computes is told by its place and imported when it is first called.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from importlib import import_module
from typing import Any, TypeVar

from qnn.errors import InputError

Name = TypeVar("Name", bound=str | int)
Member = TypeVar("Member")


class Registry(dict[Name, Member]):
    """Members by name; `what` they are called in messages, `also` what else may be written."""

    def __init__(
        self, what: str, members: Mapping[Name, Member], also: tuple[Name, ...] = ()
    ) -> None:
        super().__init__(members)
        self.what, self.also = what, also

    @property
    def choices(self) -> tuple[Name, ...]:
        """What may be written."""
        return (*self.also, *self)

    def find(self, name: Name) -> Member:
        """The member of this name. Raises InputError, with all names, for another one."""
        # By type as well: True is no 1, and nothing that has no hash is a name.
        if not any(type(name) is type(known) and name == known for known in self):
            listed = ", ".join(map(str, self.choices))
            raise InputError(f"{self.what} {name!r} is not known: choose one of {listed}")
        return self[name]


@dataclass(frozen=True)
class Later:
    """A function told by its place, "module:name", and imported when it is called."""

    place: str

    def __call__(self, *arguments: Any, **named: Any) -> Any:
        """Call it."""
        return self.load()(*arguments, **named)

    def load(self) -> Callable[..., Any]:
        """The function itself."""
        module, _, name = self.place.partition(":")
        found: Callable[..., Any] = getattr(import_module(module), name)
        return found


def imported_later(room: str, homes: Mapping[str, str]) -> Callable[[str], Any]:
    """A `__getattr__` for a package whose public names are imported when first asked for.

    Args:
        room: the package's name.
        homes: public name → the module that has it.
    """

    def __getattr__(name: str) -> Any:
        if name not in homes:
            raise AttributeError(f"module {room!r} has no attribute {name!r}")
        return getattr(import_module(homes[name]), name)

    return __getattr__
