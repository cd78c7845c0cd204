"""The capacity stated in docs/performance.md follows from the measurements given there."""

import pytest

from benchmarks import capacity
from benchmarks.capacity import Cost, Need

TEXT = capacity.DOCUMENT.read_text()


@pytest.mark.parametrize(
    "table", [capacity.table(TEXT), capacity.money(TEXT), capacity.price_list()]
)
def test_the_tables_are_computed_from_the_measured_figures(table):
    assert table in TEXT, "python -m benchmarks.capacity"


def test_a_rate_needs_what_its_requests_cost():
    found = capacity.need(10_000, Cost(480, 120), Cost(480, 120))
    assert found.instances == 4  # 4.8 CPUs at 60 %: 8 of them
    assert found.database_cpus == pytest.approx(2.0)
    assert found.connections == 4 * 2 * 3
    assert found.writes == 1_000


def test_each_zone_has_an_instance_however_low_the_rate():
    assert capacity.need(1, Cost(1, 1), Cost(1, 1)).instances == 2


def test_missing_figures_are_not_taken_as_zero():
    with pytest.raises(ValueError, match="no row of GET"):
        capacity.read_costs("| GET, 1,000 men |")


def test_a_bill_is_use_times_price():
    found = capacity.bill(Need(1_000, 2, 0.2, 12, 100))
    requests = 1_000 * 3600 * 730
    assert found.instances == pytest.approx(2 * 730 * 0.10264)
    assert found.database == pytest.approx(2 * (730 * 0.032 + 20 * 0.115))
    assert found.balancer == pytest.approx(730 * (0.0225 + 2.16 * 0.008))
    assert found.traffic == pytest.approx(requests * 350 / 1e9 * 0.09)
    assert found.logs == pytest.approx(requests * 520 / 1e9 * 0.50)


@pytest.mark.parametrize(
    ("gigabytes", "usd"),
    [
        (0, 0),
        (10_000, 900),
        (10_001, 900.085),
        (50_000, 4_300),
        (150_000, 11_300),
        (150_100, 11_305),
    ],
)
def test_each_gigabyte_has_the_price_of_its_tier(gigabytes, usd):
    assert capacity.traffic(gigabytes) == pytest.approx(usd)


@pytest.mark.parametrize(
    ("cpus", "name", "hourly"),
    [(0.4, "small", 0.032), (0.41, "large", 0.168), (2, "large", 0.168), (2.1, "xlarge", 0.336),
     (64, "16xlarge", 5.376)],
)  # fmt: skip
def test_the_database_is_the_smallest_class_that_is_enough(cpus, name, hourly):
    found, price = capacity.database_class(cpus)
    assert found.endswith(f".{name}")
    assert price == pytest.approx(hourly)


def test_no_class_is_invented():
    with pytest.raises(ValueError, match="no single database has 65 CPUs"):
        capacity.database_class(65)
