"""What a campaign plans: enough settings, held-out ones of their own, an order without a pattern."""

from collections import Counter
from itertools import pairwise
from pathlib import Path

import pytest
from bench.campaign import FULL, ROOT
from bench.campaign_jobs import KINDS
from bench.campaign_plan import (
    MEANS,
    TEST,
    TRAIN,
    Setting,
    jobs_of,
    policy_document,
    profile_jobs,
    queue_document,
    settings_of,
    steps_of,
)

from kubesprint.adapters.wire.policies import parse_policy
from kubesprint.adapters.wire.quantities import parse_duration
from kubesprint.adapters.wire.queues import parse_queue
from kubesprint.apps.wiring import strategy_for
from kubesprint.core.policy import FixedTimeout
from kubesprint.core.simulation import TriggerClock
from kubesprint.core.units import FOREVER, Seconds

WALLS = {kind: 0.8 + 0.1 * number for number, kind in enumerate(sorted(KINDS))}
SERVICE = sum(WALLS.values()) / len(WALLS)


def settings(seed: int = 1) -> list[Setting]:
    return [one for means in MEANS for one in settings_of(means, FULL, SERVICE, seed)]


def test_there_are_as_many_settings_of_each_mechanism_as_the_dataset_needs() -> None:
    counts = Counter((one.means, one.split) for one in settings())
    assert len(FULL.kinds) == 9
    assert counts == {("q1", "train"): 12, ("q1", "test"): 8, ("q2", "train"): 12, ("q2", "test"): 8}
    assert len({one.name for one in settings()}) == 40
    assert {one.threads: one.sprint_cores for one in MEANS} == {1: 1.0, 2: 2.0}


@pytest.mark.parametrize("factor", ["timeout", "capacity", "refill", "load"])
def test_held_out_settings_have_levels_that_no_training_setting_has(factor: str) -> None:
    train, test = getattr(TRAIN, factor), getattr(TEST, factor)
    assert len(set(train)) == FULL.train
    assert len(set(test)) == FULL.test
    assert not set(train) & set(test)
    numbers = [level for level in train if level is not None]
    assert min(numbers) < min(test) <= max(test) < max(numbers)  # between them, not beyond


def test_every_factor_varies_and_one_seed_makes_one_plan() -> None:
    assert settings() == settings()
    assert settings() != settings(seed=2)
    for split in ("train", "test"):
        some = [one for one in settings() if one.split == split and one.means == "q1"]
        assert {one.clock for one in some} == {"Arrival", "Start"}
        assert {one.rule for one in some} == {"Paused", "Continuous"}
        assert {one.arrivals for one in some} == {"poisson", "bursty"}
        assert len({one.seed for one in some}) == len(some)
        assert 0.5 <= min(one.load for one in some) < max(one.load for one in some) <= 0.95


@pytest.mark.parametrize("setting", settings(), ids=lambda one: one.name)
def test_time_outs_are_written_as_the_command_line_reads_them(setting: Setting) -> None:
    policy = parse_policy(policy_document(MEANS[0], setting))[0]
    strategy = strategy_for(policy, setting.strategy, None, 1, parse_duration)[1]
    wanted = FOREVER if setting.timeout is None else setting.timeout
    assert strategy == FixedTimeout(Seconds(wanted), TriggerClock(setting.clock))


def test_the_order_is_random_repeats_keep_theirs_and_the_profile_lies_between() -> None:
    steps = steps_of(settings(), FULL, 1)
    runs = [step for step in steps if not step.is_profile]
    assert len(runs) == len({run.name for run in runs}) == 2 * (12 + 8 * 2)
    names = [run.setting for run in runs]
    assert names != sorted(names)
    halves = Counter(run.setting[:2] for run in runs[:28])
    assert min(halves["q1"], halves["q2"]) >= 8  # both mechanisms all the time
    for setting in {run.setting for run in runs}:
        own = [run.name for run in runs if run.setting == setting]
        assert own == sorted(own)
        assert len(own) == (2 if "test" in setting else 1)
    places = [index for index, step in enumerate(steps) if step.is_profile]
    assert places == [0, 1, 30, 31, 60, 61]
    assert steps != steps_of(settings(), FULL, 2)


@pytest.mark.parametrize("setting", settings(), ids=lambda one: one.name)
def test_the_jobs_of_a_setting_have_its_load_and_an_even_mix(setting: Setting) -> None:
    jobs = jobs_of(setting, WALLS, FULL.seconds)
    assert jobs == jobs_of(setting, WALLS, FULL.seconds)
    assert jobs[0].arrival == 0.0
    arrivals = [job.arrival for job in jobs]
    assert arrivals == sorted(arrivals)
    counts = Counter(job.kind for job in jobs)
    assert set(counts) == set(WALLS)
    assert max(counts.values()) - min(counts.values()) <= 1
    work = sum(WALLS[job.kind] for job in jobs)
    assert work / setting.load == pytest.approx(FULL.seconds, rel=0.12)
    assert arrivals[-1] <= work / setting.load


def test_bursty_arrivals_come_closer_together_than_the_others() -> None:
    def close(kind: str) -> float:
        gaps = []
        for setting in settings():
            if setting.arrivals == kind:
                jobs = jobs_of(setting, WALLS, 400.0)
                span = jobs[-1].arrival / len(jobs)
                gaps += [(b.arrival - a.arrival) / span < 0.25 for a, b in pairwise(jobs)]
        return sum(gaps) / len(gaps)

    assert close("bursty") > 1.3 * close("poisson")


@pytest.mark.parametrize("setting", settings(), ids=lambda one: one.name)
def test_the_documents_say_what_the_setting_says(setting: Setting) -> None:
    means = next(one for one in MEANS if one.name == setting.means)
    policy = parse_policy(policy_document(means, setting), default_name="x")[0]
    extra = means.sprint_cores - means.base_cores
    assert (policy.base.cores, policy.sprint.cores) == (means.base_cores, means.sprint_cores)
    assert policy.trigger_clock is TriggerClock(setting.clock)
    assert policy.budget.capacity / extra == pytest.approx(setting.capacity, abs=0.002)
    assert policy.budget.refill / extra == pytest.approx(setting.refill, abs=1e-9)
    assert policy.budget.while_sprinting.value == setting.rule
    jobs = jobs_of(setting, WALLS, FULL.seconds)
    document = queue_document(jobs, means, python="/usr/bin/python3", folder=Path("/"), scale=1.0)
    queue = parse_queue(document, place=lambda job: job)[0]
    assert queue.slots == 1
    assert [job.arrival for job in queue.jobs] == [job.arrival for job in jobs]
    assert {job.command[job.command.index("--threads") + 1] for job in queue.jobs} == {str(means.threads)}


def test_a_block_of_the_profile_has_every_kind_with_seeds_of_its_own() -> None:
    one, other = profile_jobs(FULL, 0), profile_jobs(FULL, 1)
    assert Counter(job.kind for job in one) == dict.fromkeys(KINDS, FULL.rounds)
    assert not {job.seed for job in one} & {job.seed for job in other}


def test_jobs_find_their_program_where_the_campaign_runs_them() -> None:
    assert (ROOT / "bench" / "campaign_jobs.py").is_file()
