"""Metrics are an extra: no name and no fault of theirs ends a run."""

import logging

import pytest

from pipeline.sweeps.cluster import metrics
from pipeline.sweeps.events import UnitDone


def test_tags_are_what_ray_can_encode() -> None:
    assert metrics._ascii("region=Genève/Zürich 1") == "region=Gen%C3%A8ve/Z%C3%BCrich 1"


def test_a_fault_is_said_once_and_ends_nothing(caplog: pytest.LogCaptureFixture) -> None:
    told = metrics.SweepMetrics.__new__(metrics.SweepMetrics)
    told.sweep, told.failing = "s", False  # No counters: every count is a fault.
    event = UnitDone.__new__(UnitDone)
    with caplog.at_level(logging.WARNING):
        told.add(event)
        told.add(event)
    assert caplog.text.count("metrics are incomplete: AttributeError") == 1
