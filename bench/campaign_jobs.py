"""One training job of the campaign: `python -m bench.campaign_jobs KIND --seed N [--threads 2]`.

Nine kinds with differing shares of serial start-up, of parallel work and of memory traffic. Five are
scikit-learn estimators, whose import is a serial phase of 0.4 CPU seconds; four train with numpy alone
and start in a quarter of that. With two threads the parallel part is done by two threads in this one
process, which sleep while they wait: OpenMP is told so by its environment, the other pools are Python's
own, and OpenBLAS, whose threads spin, stays at one. It prints one line of JSON with the score on data
held out; the same arguments give the same score on the same machine.
"""

import argparse
import gc
import json
import os
import sys
from collections.abc import Callable, Sequence
from functools import cache
from typing import Any, NamedTuple

from kubesprint.apps.demo import lean
from kubesprint.apps.demo.train import LATE_PACKAGES

CLASSES = 10


class Task(NamedTuple):
    """What one job is asked to do."""

    seed: int
    threads: int
    scale: float  # of the amount of training; 1: as in the campaign

    def rounds(self, full: int) -> int:
        """How many trees, steps or restarts at this scale: at least 1."""
        return max(1, round(full * self.scale))

    def each(self, work: Callable[[Any], Any], parts: Sequence[Any]) -> list[Any]:
        """`work` on every part, by as many threads as the job has."""
        if self.threads == 1:
            return [work(part) for part in parts]
        return list(_pool(self.threads).map(work, parts))


@cache
def _pool(threads: int) -> Any:
    """The one pool of this job: its threads sleep on a queue while there is nothing to do."""
    from concurrent.futures import ThreadPoolExecutor

    return ThreadPoolExecutor(threads)


class Data(NamedTuple):
    """Features (rows, columns) and labels (rows,), to train with and to test with."""

    train: Any
    labels: Any
    test: Any
    test_labels: Any


def _split(features: Any, labels: Any) -> Data:
    cut = len(features) // 4
    return Data(features[cut:], labels[cut:], features[:cut], labels[:cut])


def _classes(seed: int, rows: int, columns: int, noise: float = 1.0) -> Data:
    """Generated rows around a centre for each of ten classes."""
    import numpy as np

    dice = np.random.default_rng(seed)
    labels = dice.integers(0, CLASSES, size=rows)
    centres = dice.standard_normal((CLASSES, columns), dtype=np.float32) * 0.6
    noisy = dice.standard_normal((rows, columns), dtype=np.float32)
    return _split(centres[labels] + noise * noisy, labels)


def _accuracy(model: Any, data: Data) -> float:
    return float((model.predict(data.test) == data.test_labels).mean())


def _warm(model: Any, data: Data) -> None:
    """A fit on a few rows by one thread: packages that `lean` has put off must not first be used by two."""
    _accuracy(
        model.fit(data.train[:60], data.labels[:60]),
        data._replace(test=data.test[:4], test_labels=data.test_labels[:4]),
    )


# --- kinds of scikit-learn --------------------------------------------------------------------------


def boosting(task: Task) -> float:
    """Histogram gradient boosting, two classes: OpenMP threads inside each tree."""
    from sklearn.ensemble._hist_gradient_boosting.gradient_boosting import HistGradientBoostingClassifier

    data = _classes(task.seed, 48_000, 20)
    halves = data._replace(labels=data.labels % 2, test_labels=data.test_labels % 2)
    steps = task.rounds(14)
    model = HistGradientBoostingClassifier(
        max_iter=steps, max_leaf_nodes=12, learning_rate=0.3, early_stopping=False, random_state=task.seed
    )
    return _accuracy(model.fit(halves.train, halves.labels), halves)


def forest(task: Task) -> float:
    """A random forest: one tree after another, in as many threads as there are."""
    from sklearn.ensemble._forest import RandomForestClassifier

    data = _classes(task.seed, 1_600, 24)
    _warm(RandomForestClassifier(1), data)
    model = RandomForestClassifier(task.rounds(54), n_jobs=task.threads, random_state=task.seed)
    return _accuracy(model.fit(data.train, data.labels), data)


def kmeans(task: Task) -> float:
    """k-means with restarts, chunks of rows by OpenMP threads; the score is purity."""
    import numpy as np
    from sklearn.cluster._kmeans import KMeans

    data = _classes(task.seed, 16_000, 24)
    model = KMeans(CLASSES, n_init=task.rounds(18), init="random", random_state=task.seed)
    found = model.fit(data.train).predict(data.test)
    table = np.zeros((CLASSES, CLASSES), dtype=int)
    np.add.at(table, (found, data.test_labels), 1)
    return float(table.max(axis=1).sum() / table.sum())


def mlp(task: Task) -> float:
    """Two neural networks, a thread each: Python between the matrix products holds them up."""
    import warnings

    from sklearn.exceptions import ConvergenceWarning
    from sklearn.neural_network._multilayer_perceptron import MLPClassifier

    warnings.simplefilter("ignore", ConvergenceWarning)  # the number of steps is the job's size
    data = _classes(task.seed, 2_400, 48)

    steps = task.rounds(13)

    def fit(penalty: float) -> float:
        model = MLPClassifier((160,), alpha=penalty, max_iter=steps, batch_size=450, random_state=task.seed)
        return _accuracy(model.fit(data.train, data.labels), data)

    _warm(MLPClassifier((2,), max_iter=1), data)

    return float(max(task.each(fit, [0.0001, 0.01])))


def svm(task: Task) -> float:
    """Support vector machines over a grid of widths, the widths shared among the threads."""
    from sklearn.svm._classes import SVC

    data = _classes(task.seed, 1_100, 24)

    _warm(SVC(), data)

    def fit(width: float) -> float:
        return _accuracy(SVC(gamma=width).fit(data.train, data.labels), data)

    return float(max(task.each(fit, [0.01 * 1.6**step for step in range(task.rounds(6))])))


# --- kinds of numpy alone ---------------------------------------------------------------------------


def components(task: Task) -> float:
    """Principal components by power iteration: every step reads the whole matrix from memory."""
    import numpy as np

    dice = np.random.default_rng(task.seed)
    rows, columns = 24_000, 256
    strong = dice.standard_normal((rows, 1), dtype=np.float32) * 2.0
    features = dice.standard_normal((rows, columns), dtype=np.float32)
    truth = dice.standard_normal(columns, dtype=np.float32)
    truth /= np.linalg.norm(truth)
    features += strong * truth
    found = np.ones(columns, dtype=np.float32)
    blocks = np.array_split(features, 2)
    for _ in range(task.rounds(54)):
        found = sum(task.each(lambda block: (block @ found) @ block, blocks))  # noqa: B023
        found /= np.linalg.norm(found)
    return float(abs(found @ truth))


def factors(task: Task) -> float:
    """Matrix factorisation by alternating least squares: many small systems of equations."""
    import numpy as np

    dice = np.random.default_rng(task.seed)
    users, items, rank = 1_200, 360, 20
    left, right = dice.normal(size=(users, rank)), dice.normal(size=(items, rank))
    seen = (dice.random((users, items)) < 0.25).astype(float)
    ratings = left @ right.T + dice.normal(scale=0.3, size=(users, items))
    left, right = dice.normal(size=(users, rank)), dice.normal(size=(items, rank))

    def solved(other: Any, mask: Any, values: Any) -> Any:
        outer = (other[:, :, None] * other[:, None, :]).reshape(len(other), -1)
        normal = (mask @ outer).reshape(-1, rank, rank) + 0.1 * np.eye(rank)
        return np.linalg.solve(normal, ((mask * values) @ other)[:, :, None])[:, :, 0]

    for _ in range(task.rounds(9)):
        for side in (0, 1):
            mask, values = (seen, ratings) if side == 0 else (seen.T, ratings.T)
            other = right if side == 0 else left
            cuts = np.array_split(np.arange(len(mask)), 2)
            parts = task.each(lambda cut: solved(other, mask[cut], values[cut]), cuts)  # noqa: B023
            if side == 0:
                left = np.concatenate(parts)
            else:
                right = np.concatenate(parts)
    unseen = seen == 0
    error = ((left @ right.T - ratings)[unseen] ** 2).mean() / (ratings[unseen] ** 2).mean()
    return float(1.0 - error)


def logistic(task: Task) -> float:
    """Logistic regression by stochastic gradient descent: one step after another, always one thread."""
    import numpy as np

    data = _classes(task.seed, 8_000, 48)
    weights = np.zeros((48, CLASSES), dtype=np.float32)
    wanted = np.eye(CLASSES, dtype=np.float32)[data.labels]
    for epoch in range(task.rounds(110)):
        for begin in range(0, len(data.train), 64):
            rows, goal = data.train[begin : begin + 64], wanted[begin : begin + 64]
            odds = np.exp(np.clip(rows @ weights, -30, 30))
            weights -= 0.02 / (1 + epoch) * rows.T @ (odds / odds.sum(axis=1, keepdims=True) - goal)
    return float(((data.test @ weights).argmax(axis=1) == data.test_labels).mean())


def ridge(task: Task) -> float:
    """Ridge regression on random Fourier features: cosines and products by blocks, then one serial solve."""
    import numpy as np

    data = _classes(task.seed, 8_000, 24)
    dice = np.random.default_rng(task.seed)
    waves = 420
    mixing = dice.standard_normal((24, waves), dtype=np.float32) * 0.2
    phase = dice.uniform(0, 2 * np.pi, size=waves).astype(np.float32)
    wanted = np.eye(CLASSES)[data.labels]

    def normal(rows: Any) -> Any:
        features = np.cos(data.train[rows] @ mixing + phase).astype(np.float64)
        return features.T @ features, features.T @ wanted[rows]

    blocks = np.array_split(np.arange(len(data.train)), 8)
    for _ in range(task.rounds(7)):  # as many penalties
        parts = task.each(normal, blocks)
        left, right = sum(part[0] for part in parts), sum(part[1] for part in parts)
        weights = np.linalg.solve(left + 0.1 * np.eye(waves), right)
    found = (np.cos(data.test @ mixing + phase) @ weights).argmax(axis=1)
    return float((found == data.test_labels).mean())


KINDS: dict[str, Callable[[Task], float]] = {
    "boosting": boosting,
    "components": components,
    "factors": factors,
    "forest": forest,
    "kmeans": kmeans,
    "logistic": logistic,
    "mlp": mlp,
    "ridge": ridge,
    "svm": svm,
}


def _parse(arguments: Sequence[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m bench.campaign_jobs", description=__doc__)
    parser.add_argument("kind", choices=sorted(KINDS))
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--threads", type=int, default=1, choices=(1, 2))
    parser.add_argument("--scale", type=float, default=1.0, help="amount of training")
    return parser.parse_args(arguments)


def main(arguments: Sequence[str] | None = None) -> int:
    """Train one job and print its line: kind, seed, score."""
    chosen = _parse(sys.argv[1:] if arguments is None else arguments)
    # read when the libraries are loaded, which is later
    os.environ |= {
        "OMP_NUM_THREADS": str(chosen.threads),
        "OPENBLAS_NUM_THREADS": "1",
        "OMP_WAIT_POLICY": "PASSIVE",
    }
    gc.disable()  # as in the demo's jobs: looking for garbage costs a tenth of a job this short
    sys.modules.setdefault("rich", None)  # type: ignore[arg-type]
    lean.defer(LATE_PACKAGES)
    score = KINDS[chosen.kind](Task(seed=chosen.seed, threads=chosen.threads, scale=chosen.scale))
    sys.stdout.write(json.dumps({"kind": chosen.kind, "seed": chosen.seed, "score": score}) + "\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
