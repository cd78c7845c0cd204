"""The capacity that docs/performance.md states follows from the figures that it states."""

import pytest

from benchmarks import capacity
from benchmarks.capacity import Cost

TEXT = capacity.DOCUMENT.read_text()


def test_the_table_is_computed_from_the_measured_figures():
    assert capacity.table(TEXT) in TEXT, "python -m benchmarks.capacity"


def test_a_rate_needs_what_its_requests_cost():
    found = capacity.need(10_000, Cost(480, 120), Cost(480, 120))
    assert found.instances == 4  # 4.8 CPUs at 60 %: 8 of them
    assert found.database_cpus == pytest.approx(2.0)
    assert found.connections == 4 * 2 * 3
    assert found.writes == 1_000


def test_there_is_an_instance_in_each_zone_however_little_there_is_to_do():
    assert capacity.need(1, Cost(1, 1), Cost(1, 1)).instances == 2


def test_figures_that_are_missing_are_not_zero():
    with pytest.raises(ValueError, match="no row of GET"):
        capacity.read_costs("| GET, 1,000 men |")
