"""What a study of robustness will do: its networks, its rows, its blocks."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from hashlib import sha256
from itertools import product

from pipeline.datasets.examples import Examples, Network, answers, read_examples
from pipeline.plans.description import axis, description
from pipeline.plans.study import NothingFollows
from pipeline.studies.robustness.asked import Asked, Asker
from pipeline.studies.robustness.blocks import Block, Subject
from pipeline.studies.robustness.config import RobustnessConfig
from pipeline.studies.robustness.subjects import Setting, networks_of
from qnn.errors import InputError
from qnn.networks.layered import LayeredNetwork
from qnn.robustness import Limits


@dataclass(frozen=True)
class RobustnessPlan(NothingFollows):
    """The blocks; `data`: by name, each network's file and the rows as it reads them."""

    config: RobustnessConfig
    units: tuple[Block, ...]
    data: dict[str, Subject]

    def describe(self) -> str:
        """The axes, and how much work that is."""
        config = self.config
        axes = [
            axis("networks", tuple(self.data)),
            axis("norms", config.norms),
            axis("radii" if config.shape is None else "factors", config.steps),
        ]
        count = sum(unit.networks for unit in self.units)
        work = f"{count} rows in {len(self.units)} blocks, effort {config.effort}"
        facts = [("work", f"{work}, unit {config.unit}")]
        facts += [("asked", words)] if (words := _words(config)) else []
        return description(f"study {config.name}: robustness", axes, facts)


def prepare(config: RobustnessConfig) -> RobustnessPlan:
    """Read networks and rows. Raises InputError for what cannot be read, or does not fit."""
    names = [network.name for network in config.networks]
    if len(set(names)) < len(names):
        raise InputError("networks: two have the same name")
    data: dict[str, Subject] = {}
    blocks: list[Block] = []
    for one in config.networks:
        for name, network, setting in networks_of(one):
            if name in data:
                raise InputError(f"networks: two are called {name!r}")
            examples = read_examples(config.data.source, network, config.data.target)
            asked = asked_of(config, config.norms[0])
            Asker(network, examples, asked, config.effort, Limits(nodes=0))
            data[name] = (network.to_bytes(), examples)
            blocks += _blocks(config, name, network, examples, setting)
    return RobustnessPlan(config, tuple(blocks), data)


def _blocks(
    config: RobustnessConfig,
    name: str,
    network: Network,
    examples: Examples,
    setting: Setting | None,
) -> Iterator[Block]:
    labels = examples.labels
    shown = list(map(str, answers(network, examples.rows) if labels is None else labels))
    digest = sha256(network.to_bytes()).hexdigest()
    size = network.hidden if isinstance(network, LayeredNetwork) else 0
    content = examples.sha256
    count = min(examples.n, config.data.limit or examples.n)
    steps = [*config.steps, None] if config.largest else config.steps
    axes = product(dict.fromkeys(config.norms), steps)
    for (norm, radius), first in product(axes, range(0, count, config.block)):
        part = tuple(shown[first : min(first + config.block, count)])
        yield Block(
            name, digest, content, asked_of(config, norm), radius, config.effort, config.nodes,
            first, part, labels is not None, size + network.d, setting, config.solver,
        )  # fmt: skip


def asked_of(config: RobustnessConfig, norm: str) -> Asked:
    """What may happen at the radius, or factor, 1."""
    shape = config.shape
    return Asked(1.0 if shape is None else shape, norm, config.unit, config.limits, config.flip)


def _words(config: RobustnessConfig) -> str:
    """Radii by column, flips and the largest radius, where they are asked for."""
    named = [] if config.shape is None else [Asked(config.shape, unit=config.unit).words]
    flips = [f"any {name}" for name in config.flip]
    return ", ".join([*named, *flips, *(["the largest of each row"] * config.largest)])
