"""Who raises a clock pays for all the CPUs that it moves, together with the others who asked."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kubesprint.core.clocks import ClockDomain, clock_rates, mean_ratio

SMALL, WIDE = ClockDomain(knob="p0", cpus=1, ratio=2.0), ClockDomain(knob="p1", cpus=4, ratio=1.5)

domains = st.builds(
    ClockDomain, knob=st.sampled_from("abc"), cpus=st.integers(1, 8), ratio=st.floats(1.0, 3.0)
)
uses = st.dictionaries(st.sampled_from(["s0", "s1", "s2"]), st.lists(domains, unique=True, max_size=3))
cores = st.dictionaries(st.sampled_from(["s0", "s1", "s2"]), st.floats(0.1, 8.0))


def test_a_lone_sprint_pays_for_every_cpu_of_its_domains() -> None:
    assert clock_rates({"s": [SMALL, WIDE]}, {"s": 1.0}) == {"s": 3.0}


def test_a_shared_clock_is_paid_once_split_by_granted_cores() -> None:
    shared = {"a": [WIDE], "b": [WIDE], "idle": [WIDE]}
    assert clock_rates(shared, {"a": 1.0, "b": 3.0}) == {"a": 0.5, "b": 1.5}


def test_cores_that_fill_what_they_raise_cost_cores_times_clock() -> None:
    assert 4.0 - 2.0 + clock_rates({"s": [WIDE]}, {"s": 4.0})["s"] == pytest.approx(4.0 * 1.5 - 2.0)


@given(use=uses, sprinting=cores)
def test_all_shares_together_are_what_the_raised_domains_cost(
    use: dict[str, list[ClockDomain]], sprinting: dict[str, float]
) -> None:
    rates = clock_rates(use, sprinting)
    raised = {domain for slot in sprinting for domain in use.get(slot, [])}
    assert rates.keys() == sprinting.keys()
    assert all(rate >= 0 for rate in rates.values())
    assert sum(rates.values()) == pytest.approx(sum(domain.cost for domain in raised))


def test_the_clock_of_a_job_is_the_mean_over_the_cpus_it_may_run_on() -> None:
    assert mean_ratio([SMALL, WIDE]) == pytest.approx((2.0 + 4 * 1.5) / 5)
    assert mean_ratio([]) == 1.0
