"""The learned part of a grey box on jobs that run: a factor on the speed-up of each."""

import numpy as np

from kubesprint.core.allocation import Allocation
from kubesprint.core.dataset import Mechanism
from kubesprint.core.forecast import KindModel, work_done
from kubesprint.core.workload import JobState, JobView
from kubesprint.learn.serving import GreyModel

SAME = 0.01
"""Relative difference of cores below which an allocation is that of a mechanism."""


def mechanism_of(model: GreyModel, base: Allocation, sprint: Allocation) -> Mechanism | None:
    """The mechanism that the model was fitted to under these allocations; None: under no such one."""
    if (base.clock, sprint.clock) != (1.0, 1.0):
        return None
    for mechanism in model.white.mechanisms.values():
        pairs = ((mechanism.base_cores, base.cores), (mechanism.sprint_cores, sprint.cores))
        if all(abs(theirs / ours - 1.0) <= SAME for theirs, ours in pairs):
            return mechanism
    return None


class LiveResidual:
    """What the speed of a sprint was over the usual one, by a job's kind and progress: `forecast.Learned`.

    A job that runs is asked about as if it sprinted from now to its end, one that waits as if it did from
    its start. The model's own speed-up of the kind is the feature that the forest was grown with.
    """

    def __init__(self, model: GreyModel, mechanism: Mechanism) -> None:
        self._model = model
        self._mechanism = mechanism

    def factor(self, job: JobView, model: KindModel) -> float | None:
        """None where the job is outside what was learned from: the white box answers alone."""
        residual = self._model.job
        kind = self._model.white.kinds.get((self._mechanism.name, job.kind))
        if residual is None or kind is None or kind.guessed:
            return None
        progress = 0.0
        if job.state is JobState.RUNNING and job.cpu is not None and model.cpu > 0:
            progress = min(1.0, work_done(job, model.sprint_cpu) / model.cpu)
        codes = residual.codes
        names = [codes.mechanism(self._mechanism.name), codes.kind(job.kind)]
        row = np.array([[*names, progress, 1.0 - progress, kind.speedup]])
        if not residual.forest.knows(row)[0]:
            return None
        return float(residual.forest.predict(row)[0])
