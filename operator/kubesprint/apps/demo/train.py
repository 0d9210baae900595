"""One real training job: `python -m kubesprint.apps.demo.train KIND --seed N`.

Trains a few candidates of one scikit-learn model on a data set that scikit-learn ships or that is
generated here, and prints one line of JSON with the best score on data held out. The same kind, seed
and scale give the same score on the same machine. A job is a fresh process at a fraction of a core,
where start-up counts: this module imports nothing of the program, and of scikit-learn only what its
kind needs (see `lean`).
"""

import argparse
import gc
import json
import os
import sys
import time
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

from kubesprint.apps.demo import lean

LATE_PACKAGES = (
    *("numpy.f2py", "numpy.testing"),
    *("scipy.integrate", "scipy.interpolate", "scipy.linalg", "scipy.optimize", "scipy.sparse.linalg"),
    *("scipy.spatial", "scipy.special", "scipy.stats"),
    *("sklearn.cluster", "sklearn.covariance", "sklearn.datasets", "sklearn.decomposition"),
    *("sklearn.ensemble", "sklearn.linear_model", "sklearn.metrics", "sklearn.model_selection"),
    *("sklearn.neighbors", "sklearn.neural_network", "sklearn.preprocessing", "sklearn.svm", "sklearn.tree"),
)
CLUSTERS = 12  # of the generated data that k-means is given


class Task(NamedTuple):
    """What one kind is asked to do. (A named tuple: `dataclasses` would cost start-up time.)"""

    seed: int
    scale: float  # of the amount of training, 1: as in the demo
    workers: int

    def rounds(self, full: int) -> int:
        """How many trees, steps or restarts at this scale: at least 1."""
        return max(1, round(full * self.scale))


class Data(NamedTuple):
    """A data set, split: features (rows, columns) and labels (rows,)."""

    train: Any
    train_labels: Any
    test: Any
    test_labels: Any


class Trained(NamedTuple):
    """How good the best candidate is on data it has not seen, and what fitting and testing them all took."""

    score: float
    fit_seconds: float


def _split(features: Any, labels: Any, seed: int) -> Data:
    import numpy as np

    order = np.random.default_rng(seed).permutation(len(features))
    cut = len(features) // 4
    return Data(features[order[cut:]], labels[order[cut:]], features[order[:cut]], labels[order[:cut]])


def _digits(seed: int) -> Data:
    from sklearn.datasets._base import load_digits

    features, labels = load_digits(return_X_y=True)
    return _split(features / 16.0, labels, seed)


def _breast_cancer(seed: int) -> Data:
    from sklearn.datasets._base import load_breast_cancer

    features, labels = load_breast_cancer(return_X_y=True)
    features = (features - features.mean(axis=0)) / features.std(axis=0)
    return _split(features, labels, seed)


def _blobs(seed: int, rows: int) -> Data:
    import numpy as np

    dice = np.random.default_rng(seed)
    labels = dice.integers(0, CLUSTERS, size=rows)
    features = dice.normal(size=(CLUSTERS, 24))[labels] * 0.8 + dice.normal(size=(rows, 24))
    return _split(features, labels, seed)


def _interactions(seed: int, rows: int) -> Data:
    """Two classes in 16 dimensions, told apart by products of features: no line separates them."""
    import numpy as np

    dice = np.random.default_rng(seed)
    features = dice.normal(size=(rows, 16))
    signal = features[:, 0] * features[:, 1] + features[:, 2] * features[:, 3] + features[:, 4]
    labels = (signal + dice.normal(scale=0.5, size=rows) > 0).astype(int)
    return _split(features, labels, seed)


def _accuracy(model: Any, data: Data) -> float:
    return float((model.predict(data.test) == data.test_labels).mean())


def _purity(model: Any, data: Data) -> float:
    """The share of rows whose cluster is mostly of their own label."""
    import numpy as np

    table = np.zeros((CLUSTERS, CLUSTERS), dtype=int)
    np.add.at(table, (model.predict(data.test), data.test_labels), 1)
    return float(table.max(axis=1).sum() / table.sum())


def _fit(model: Any, data: Data, score: Callable[[Any, Data], float]) -> float:
    model.fit(data.train, data.train_labels)
    return score(model, data)


def _best(models: Sequence[Any], data: Data, workers: int, score: Callable[[Any, Data], float]) -> Trained:
    """Fit every candidate and take the best.

    Workers are forked, not threads: on these small data sets threads only wait for one another.
    """
    began = time.perf_counter()
    if workers == 1:
        scores = [_fit(model, data, score) for model in models]
    else:
        from concurrent.futures import ProcessPoolExecutor
        from multiprocessing import get_context

        with ProcessPoolExecutor(min(workers, len(models)), mp_context=get_context("fork")) as pool:
            scores = list(pool.map(_fit, models, [data] * len(models), [score] * len(models)))
    return Trained(max(scores), time.perf_counter() - began)


def boosting(task: Task) -> Trained:
    """Histogram gradient boosting on generated interactions, four learning rates."""
    from sklearn.ensemble._hist_gradient_boosting.gradient_boosting import HistGradientBoostingClassifier

    steps = task.rounds(105)
    models = [
        HistGradientBoostingClassifier(
            max_iter=steps, learning_rate=rate, early_stopping=False, random_state=task.seed
        )
        for rate in (0.05, 0.1, 0.15, 0.2)
    ]
    return _best(models, _interactions(task.seed, 8_000), task.workers, _accuracy)


def forest(task: Task) -> Trained:
    """Random forests on the digits, two numbers of features to split by."""
    from sklearn.ensemble._forest import RandomForestClassifier

    trees = task.rounds(130)
    models = [RandomForestClassifier(trees, max_features=few, random_state=task.seed) for few in (7, 9)]
    return _best(models, _digits(task.seed), task.workers, _accuracy)


def kmeans(task: Task) -> Trained:
    """k-means on generated clusters, two sets of restarts; the score is purity."""
    from sklearn.cluster._kmeans import KMeans

    restarts = task.rounds(15)
    models = [KMeans(CLUSTERS, n_init=restarts, random_state=task.seed + half) for half in (0, 1)]
    return _best(models, _blobs(task.seed, 12_000), task.workers, _purity)


def logistic(task: Task) -> Trained:
    """Logistic regression on the breast cancer data over a grid of penalties."""
    from sklearn.linear_model._logistic import LogisticRegression

    penalties = [10.0 ** (step / 10 - 2) for step in range(task.rounds(52))]
    models = [LogisticRegression(C=penalty, max_iter=1000) for penalty in penalties]
    return _best(models, _breast_cancer(task.seed), task.workers, _accuracy)


def mlp(task: Task) -> Trained:
    """Neural networks with one hidden layer on the digits, two penalties."""
    import warnings

    from sklearn.exceptions import ConvergenceWarning
    from sklearn.neural_network._multilayer_perceptron import MLPClassifier

    warnings.simplefilter("ignore", ConvergenceWarning)  # the number of steps is the job's size
    steps = task.rounds(40)
    models = [
        MLPClassifier((96,), alpha=penalty, max_iter=steps, random_state=task.seed)
        for penalty in (0.0001, 0.01)
    ]
    return _best(models, _digits(task.seed), task.workers, _accuracy)


def svm(task: Task) -> Trained:
    """Support vector machines on the digits over a grid of widths."""
    from sklearn.svm._classes import SVC

    widths = [0.001 * 1.5**step for step in range(task.rounds(8))]
    models = [SVC(gamma=width, random_state=task.seed) for width in widths]
    return _best(models, _digits(task.seed), task.workers, _accuracy)


KINDS: dict[str, Callable[[Task], Trained]] = {
    "boosting": boosting,
    "forest": forest,
    "kmeans": kmeans,
    "logistic": logistic,
    "mlp": mlp,
    "svm": svm,
}


def _positive(text: str) -> float:
    number = float(text)
    if not 0 < number < 1000:
        raise argparse.ArgumentTypeError(f"{text} is not above 0 and below 1000")
    return number


def _parse(arguments: Sequence[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m kubesprint.apps.demo.train", description=__doc__)
    parser.add_argument("kind", choices=sorted(KINDS))
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--scale", type=_positive, default=1.0, help="amount of training, 1: as in the demo")
    parser.add_argument("--threads", type=int, help="cores to use; default: OMP_NUM_THREADS, else 1")
    parser.add_argument("--plain-imports", action="store_true", help="import whole packages, as usual")
    return parser.parse_args(arguments)


def _workers(asked: int | None) -> int:
    """How many candidates are fitted at once. Each is fitted by one thread: the libraries are told so."""
    named = os.environ.get("OMP_NUM_THREADS", "")
    workers = asked if asked is not None else int(named) if named.isdecimal() else 1
    if workers < 1:
        raise SystemExit(f"--threads: {workers} is not at least 1")
    for name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS"):
        os.environ[name] = "1"  # read when the libraries are loaded, which is later
    return workers


def main(arguments: Sequence[str] | None = None) -> int:
    """Train one job and print its line: kind, seed, score, fit_seconds."""
    chosen = _parse(sys.argv[1:] if arguments is None else arguments)
    task = Task(seed=chosen.seed, scale=chosen.scale, workers=_workers(chosen.threads))
    if not chosen.plain_imports:
        # Modules are not garbage, and neither is a job of a second or two: looking for it costs a tenth.
        gc.disable()
        sys.modules.setdefault("rich", None)  # type: ignore[arg-type]  # only for progress bars
        lean.defer(LATE_PACKAGES)
    trained = KINDS[chosen.kind](task)
    line = {"kind": chosen.kind, "seed": task.seed, **trained._asdict()}
    sys.stdout.write(json.dumps(line) + "\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
