"""Sampled arrivals: the rate and the mix of what was seen, the same for every candidate."""

import random
from itertools import pairwise

import pytest

from kubesprint.core.forecast import KindModel
from kubesprint.core.futures import ArrivalHistory, sample_futures
from storyboards import measured

MODELS = {"fit": measured(work=4.0, rate=1.5, deviation=2.0), "scan": measured("scan", work=1.0, rate=3.0)}


def history(*instants: float, now: float = 10.0, kinds: str = "fit") -> ArrivalHistory:
    return ArrivalHistory(instants=instants, kinds=[kinds] * len(instants), now=now)


def model(kind: str) -> KindModel:
    return MODELS[kind]


def test_the_rate_counts_gaps_and_grows_smaller_while_nobody_comes() -> None:
    assert history(0.0, 5.0, 10.0, now=10.0).rate() == pytest.approx(0.2)
    assert history(0.0, 5.0, 10.0, now=20.0).rate() == pytest.approx(0.1)


@pytest.mark.parametrize("instants", [(), (3.0,), (10.0, 10.0)])
def test_too_little_seen_is_no_rate_and_an_empty_future(instants: tuple[float, ...]) -> None:
    seen = history(*instants)
    assert seen.rate() == 0.0
    assert sample_futures(seen, model, random.Random(1).random, 3, 5) == [[], [], []]


def test_the_same_dice_give_the_same_futures() -> None:
    seen = history(0.0, 2.0, 4.0)
    first = sample_futures(seen, model, random.Random(7).random, 2, 20)
    assert first == sample_futures(seen, model, random.Random(7).random, 2, 20)
    assert first[0] != first[1]
    assert first != sample_futures(seen, model, random.Random(8).random, 2, 20)


def test_futures_lie_ahead_in_order_and_have_the_asked_length() -> None:
    for future in sample_futures(history(0.0, 2.0, 4.0), model, random.Random(1).random, 5, 20):
        assert len(future) == 20
        assert future[0].arrival >= 10.0
        assert all(a.arrival <= b.arrival for a, b in pairwise(future))


def test_rate_and_size_are_those_of_the_history_in_the_mean() -> None:
    (future,) = sample_futures(history(0.0, 5.0, 10.0), model, random.Random(2).random, 1, 20000)
    works = [job.work for job in future]
    mean = sum(works) / len(works)
    spread = (sum((work - mean) ** 2 for work in works) / len(works)) ** 0.5
    assert (future[-1].arrival - 10.0) / 20000 == pytest.approx(5.0, rel=0.05)
    assert mean == pytest.approx(4.0, rel=0.05)
    assert spread == pytest.approx(2.0, rel=0.1)
    assert {job.rate for job in future} == {1.5}


def test_the_mix_of_kinds_is_resampled_and_a_kind_without_spread_keeps_its_size() -> None:
    seen = ArrivalHistory(instants=[0.0, 1.0, 2.0, 3.0], kinds=["fit", "scan", "scan", "scan"], now=4.0)
    (future,) = sample_futures(seen, model, random.Random(3).random, 1, 4000)
    scans = [job for job in future if job.rate == 3.0]
    assert {job.work for job in scans} == {1.0}
    assert len(scans) / len(future) == pytest.approx(0.75, abs=0.03)
