"""One run of MLflow as it is there: read once, then written in few requests, only what is new.

Over HTTP each request takes some 10 ms, and a run's metrics have a request each for their history.
So a run is read whole, the history only of curves that are there already, and parameters, metrics
and tags go in one batch. Names that come from data and files are first spelt as MLflow takes them.
"""

from __future__ import annotations

import hashlib
import re
import time
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

Point = tuple[str, float, int]
"""Name, value, step."""

# MLflow takes 1,000 entries at once, and of them 100 parameters and 100 tags.
_METRICS_AT_ONCE, _PARAMETERS_AT_ONCE = 800, 100
# MLflow takes letters of any script, digits, "_ - . : /" and the space, 250 characters in all; and
# of names that may be paths none that another spelling is equal to, as "a/" and "a/./b".
_REFUSED = re.compile(r"[^\w .:-]")
_LONGEST = 200


class TrackedRun:
    """A run of a store. `run` is MLflow's own entity, as the store has just given it."""

    def __init__(self, client: Any, run: Any) -> None:
        self.client, self.run_id = client, str(run.info.run_id)
        self.has_data = bool(run.inputs is not None and run.inputs.dataset_inputs)
        self.tags: dict[str, str] = dict(run.data.tags)
        self._parameters = set(run.data.params)
        self._metrics: dict[str, float] = dict(run.data.metrics)

    def log(
        self,
        *,
        parameters: Mapping[str, str] | None = None,
        points: Iterable[Point] = (),
        tags: Mapping[str, str] | None = None,
        model: str | None = None,
    ) -> None:
        """Write what differs from what is there, so that no chart has a point twice.

        A parameter that is there stays: MLflow refuses to change one. Tags come last, so that they
        may say what is done. `model` is the logged model that the metrics are told of as well.
        Raises what MLflow raises.
        """
        from mlflow.entities import Metric, Param, RunTag

        now = int(time.time() * 1000)
        metrics = [
            Metric(key, value, now, step, model_id=model, run_id=self.run_id)
            for key, value, step in self._new(list(points))
        ]
        new = {k: v for k, v in (parameters or {}).items() if k not in self._parameters}
        changed = {k: v for k, v in (tags or {}).items() if self.tags.get(k) != v}
        while len(metrics) > _METRICS_AT_ONCE:
            self.client.log_batch(self.run_id, metrics=metrics[:_METRICS_AT_ONCE])
            metrics = metrics[_METRICS_AT_ONCE:]
        params = [Param(key, value) for key, value in new.items()]
        while len(params) > _PARAMETERS_AT_ONCE:
            self.client.log_batch(self.run_id, params=params[:_PARAMETERS_AT_ONCE])
            params = params[_PARAMETERS_AT_ONCE:]
        if metrics or params or changed:
            self.client.log_batch(
                self.run_id,
                metrics=metrics,
                params=params,
                tags=[RunTag(key, value) for key, value in changed.items()],
            )
        self._parameters |= set(new)
        self.tags |= changed
        self._metrics |= {metric.key: metric.value for metric in metrics}

    def _new(self, points: Sequence[Point]) -> list[Point]:
        """The points that are not there: of a curve by its history, else by the last value."""
        curves = {key for key, _, step in points if step} & set(self._metrics)
        there = {(key, 0): value for key, value in self._metrics.items() if key not in curves}
        there |= {
            (key, point.step): point.value
            for key in sorted(curves)
            for point in self.client.get_metric_history(self.run_id, key)
        }
        return [point for point in points if there.get((point[0], point[2])) != point[1]]


def names_for(words: Iterable[str]) -> dict[str, str]:
    """A name for each word, alone or behind a prefix: what MLflow refuses, and "/", is "_".

    Words whose names would be the same, capitals aside (some databases see none), get a digest of
    the word behind it.
    """
    return _distinct(words, _name)


def paths_for(words: Iterable[str]) -> dict[str, str]:
    """The same, of words whose "/" stays between two names."""
    return _distinct(words, lambda word: "/".join(map(_name, word.split("/"))))


def _distinct(words: Iterable[str], spelt: Callable[[str], str]) -> dict[str, str]:
    names = {word: spelt(word)[:_LONGEST].rstrip(" /") for word in words}
    counts = Counter(name.casefold() for name in names.values())
    return {
        word: f"{name}-{_digest(word)}" if counts[name.casefold()] > 1 else name
        for word, name in names.items()
    }


def _name(word: str) -> str:
    name = _REFUSED.sub("_", word).strip()
    return name if name.strip(".") else f"_{name}"


def _digest(word: str) -> str:
    return hashlib.sha256(word.encode(errors="surrogatepass")).hexdigest()[:6]
