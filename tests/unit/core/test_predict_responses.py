"""A prediction is what the simulator says if the trigger stays, under the same rules as the decision."""

from dataclasses import replace

import pytest

from engine_bench import measured, queued, running
from kubesprint.core.events import simulate_servers
from kubesprint.core.forecast import prior
from kubesprint.core.policy import FixedTimeout, JobTrigger, Trigger
from kubesprint.core.predict import predict_responses
from kubesprint.core.reasons import Reason
from kubesprint.core.simulation import TriggerClock
from kubesprint.core.units import FOREVER
from kubesprint.core.view import View
from storyboards import estimates, view

MODELS = {"fit": measured(work=10.0, rate=2.0), "odd": replace(prior("odd", 2.0), work=10.0)}
NEVER, ALWAYS = FixedTimeout(FOREVER), FixedTimeout(0.0)


def predicted(seen: View, trigger: Trigger) -> dict[str, float]:
    return dict(predict_responses(seen, estimates(seen.jobs, MODELS), trigger, simulate_servers))


def by_model(**own: JobTrigger) -> Trigger:
    return Trigger(
        after=FOREVER, clock=TriggerClock.ARRIVAL, needs_trust=True, basis="M", sentence="", own=own
    )


def at(instant: float) -> JobTrigger:
    return JobTrigger(at=instant, reason=Reason.TRIGGER_REACHED, sentence="")


def test_running_and_queued_jobs_in_turn_from_their_arrival() -> None:
    seen = view(running("a", cpu=4.0), queued("b", 1.0), now=4.0)
    never = NEVER.choose(seen, {}, hurry=False)
    assert predicted(seen, never) == {"a": pytest.approx(10.0), "b": pytest.approx(19.0)}


def test_a_sprint_lasts_as_long_as_the_bucket() -> None:
    seen = view(running("a"), level=3.0)
    assert predicted(seen, ALWAYS.choose(seen, {}, hurry=False)) == {"a": pytest.approx(7.0)}


def test_what_nobody_acts_upon_sprints_nobody() -> None:
    seen = view(running("a"), queued("b", 1.0), level=10.0)
    always = ALWAYS.choose(seen, {}, hurry=False)
    never = NEVER.choose(seen, {}, hurry=False)
    told = predict_responses(seen, estimates(seen.jobs, MODELS), always, simulate_servers, sprints=False)
    assert told == predicted(seen, never)
    own = predict_responses(
        seen, estimates(seen.jobs, MODELS), by_model(a=at(0.0)), simulate_servers, sprints=False
    )
    assert own == predicted(seen, never)


def test_a_debt_is_an_empty_bucket() -> None:
    seen = view(running("a"), level=-3.0)
    assert predicted(seen, ALWAYS.choose(seen, {}, hurry=False)) == {"a": pytest.approx(10.0)}


def test_a_trigger_of_its_own_holds_for_its_job() -> None:
    seen = view(running("a"), queued("b"), level=10.0)
    assert predicted(seen, by_model(a=at(2.0)))["a"] == pytest.approx(6.0)


def test_a_job_that_is_not_trusted_sprints_by_a_fixed_time_out_and_by_no_model() -> None:
    seen = view(running("a", kind="odd"), level=10.0)
    assert predicted(seen, ALWAYS.choose(seen, {}, hurry=False)) == {"a": pytest.approx(5.0)}
    assert predicted(seen, by_model(a=at(0.0))) == {"a": pytest.approx(10.0)}


def test_a_job_that_is_not_selected_never_sprints() -> None:
    seen = view(running("a", selected=False), level=10.0)
    assert predicted(seen, ALWAYS.choose(seen, {}, hurry=False)) == {"a": pytest.approx(10.0)}
    assert predicted(seen, by_model(a=at(0.0))) == {"a": pytest.approx(10.0)}


def test_nothing_here_is_nothing_predicted() -> None:
    seen = view()
    assert predicted(seen, NEVER.choose(seen, {}, hurry=False)) == {}
