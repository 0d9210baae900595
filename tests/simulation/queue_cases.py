"""Random queues for the simulators. Numbers are decimals or eighths, so that ties are frequent and exact.

All implementations take two instants within a tenth of a nanosecond for one (SLACK), so exact ties need
no filter here. Numbers that are *nearly* tied (1e-15 apart, say) are not generated: the policy jumps at
the threshold, and rounding decides on which side such a case falls.
"""

from dataclasses import dataclass
from math import inf

from hypothesis import strategies as st

from kubesprint.core.budget import RefillRule
from kubesprint.core.simulation import Present, SimJob, SprintRules, TriggerClock


@dataclass(frozen=True)
class Case:
    jobs: list[SimJob]
    rules: SprintRules
    servers: int
    present: Present


def amounts(low: float, high: float) -> st.SearchStrategy[float]:
    """Eighths and thousandths."""
    return st.one_of(
        st.integers(round(low * 8), round(high * 8)).map(lambda n: n / 8),
        st.integers(round(low * 1000), round(high * 1000)).map(lambda n: n / 1000),
    )


def some_rules() -> st.SearchStrategy[SprintRules]:
    return st.builds(
        SprintRules,
        timeout=st.one_of(st.sampled_from([0.0, inf]), amounts(0, 4)),
        clock=st.sampled_from(TriggerClock),
        capacity=st.one_of(st.just(0.0), amounts(0, 1), amounts(0, 5)),
        refill=st.one_of(st.sampled_from([0.0, 1.0, 2.0]), amounts(0.125, 3)),
        refill_rule=st.sampled_from(RefillRule),
        hysteresis=st.one_of(st.just(0.2), amounts(0.125, 5)),
        restart=st.booleans(),
        toggle=st.one_of(st.just(0.0), amounts(0, 1)),
    )


@st.composite
def queues(draw: st.DrawFn, most_servers: int = 4, most_jobs: int = 10) -> Case:
    servers = draw(st.integers(1, most_servers))
    now = draw(st.sampled_from([0.0, 0.0, 1.5]))
    rate = draw(st.sampled_from([1.0, 1.5, 2.0, 2.5, 3.7]))
    mixed = draw(st.booleans())
    jobs, running = [], 0
    for arrival in sorted(draw(st.lists(amounts(0, 6), min_size=1, max_size=most_jobs))):
        runs = arrival <= now and running < servers and draw(st.booleans())
        running += runs
        jobs.append(
            SimJob(
                arrival=arrival,
                work=draw(amounts(0, 4)),
                rate=draw(st.sampled_from([1.0, 2.0, 3.3])) if mixed else rate,
                trigger=draw(st.one_of(st.none(), st.just(inf), amounts(0, 8))) if mixed else None,
                started=arrival if runs else None,
                sprinting=runs and draw(st.booleans()),
            )
        )
    level = draw(st.one_of(st.none(), amounts(-1, 4)))
    return Case(jobs, draw(some_rules()), servers, Present(now=now, level=level))
