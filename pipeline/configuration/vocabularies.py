"""Words of the configuration that are the names of a registry's members.

What a key may hold is asked when it is read, not told twice: a new loss, solver or arm is known
here as soon as its registry has it.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Annotated, Any

from pydantic import GetCoreSchemaHandler, GetJsonSchemaHandler
from pydantic.json_schema import JsonSchemaValue
from pydantic_core import CoreSchema, PydanticKnownError, core_schema

from qnn.features.scalings import SCALINGS
from qnn.losses import LOSSES
from qnn.networks.activations import ACTIVATIONS
from qnn.networks.alphabets import ALPHABETS, BINARY
from qnn.networks.second_layers import SECOND_LAYERS
from qnn.registry import Registry
from qnn.training.arms import ARMS
from qnn.training.problems.levels import LEVELS
from qnn.training.relaxation.registry import SOLVERS
from qnn.training.rounding.registry import METHODS


@dataclass(frozen=True, eq=False)
class NameIn:
    """The name of one of a registry's members, as pydantic reads it.

    `also`: other words for some of them.
    """

    registry: Iterable[Any]
    also: Mapping[Any, Any] = field(default_factory=dict)

    def __get_pydantic_core_schema__(
        self, source: Any, handler: GetCoreSchemaHandler
    ) -> CoreSchema:
        return core_schema.no_info_plain_validator_function(self._known)

    def __get_pydantic_json_schema__(
        self, schema: CoreSchema, handler: GetJsonSchemaHandler
    ) -> JsonSchemaValue:
        return {"enum": [*self._listed(), *self.also]}

    def _listed(self) -> list[Any]:
        return list(self.registry.choices if isinstance(self.registry, Registry) else self.registry)

    def _known(self, value: Any) -> Any:
        listed = self._listed()
        # By type as well: true is no 1.
        if any(type(value) is type(name) and value == name for name in listed):
            return value
        for word, name in self.also.items():
            if type(value) is type(word) and value == word:
                return name
        *most, last = map(repr, listed)
        expected = f"{', '.join(most)} or {last}" if most else last
        raise PydanticKnownError("literal_error", {"expected": expected})


Loss = Annotated[str, NameIn(LOSSES)]
ActivationName = Annotated[str, NameIn(ACTIVATIONS)]
# A number is that of bits.
Alphabet = Annotated[str | int, NameIn(ALPHABETS, {1: BINARY.name})]
SecondLayer = Annotated[str | int, NameIn(SECOND_LAYERS)]
Scaling = Annotated[str, NameIn(SCALINGS)]
Solver = Annotated[str, NameIn(SOLVERS)]
Certify = Annotated[str, NameIn(LEVELS)]
Rounding = Annotated[str, NameIn(METHODS)]
Baseline = Annotated[str, NameIn(ARMS)]
