"""One real training job: `python -m kubesprint.apps.demo.train KIND --seed N`.

Trains a scikit-learn model on a data set that scikit-learn ships or generates, tests it on data
held out, and prints one line of JSON. The same kind, seed and scale give the same score on the
same machine. A job is a fresh process at a fraction of a core, where start-up counts: this module
imports nothing of the program, and of scikit-learn only what its kind needs (see `lean`).
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


class Task(NamedTuple):
    """What one kind is asked to do. (A named tuple: `dataclasses` would cost start-up time.)"""

    seed: int
    scale: float  # of the amount of training, 1: as in the demo
    threads: int

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
    """How good the model is on data it has not seen, and what fitting it took."""

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
    labels = dice.integers(0, 12, size=rows)
    features = dice.normal(size=(12, 24))[labels] * 0.8 + dice.normal(size=(rows, 24))
    return _split(features, labels, seed)


def _interactions(seed: int, rows: int) -> Data:
    """Two classes in 16 dimensions, told apart by products of features: no line separates them."""
    import numpy as np

    dice = np.random.default_rng(seed)
    features = dice.normal(size=(rows, 16))
    signal = features[:, 0] * features[:, 1] + features[:, 2] * features[:, 3] + features[:, 4]
    labels = (signal + dice.normal(scale=0.5, size=rows) > 0).astype(int)
    return _split(features, labels, seed)


def _fit(model: Any, data: Data) -> Trained:
    began = time.perf_counter()
    model.fit(data.train, data.train_labels)
    took = time.perf_counter() - began
    return Trained(float((model.predict(data.test) == data.test_labels).mean()), took)


def forest(task: Task) -> Trained:
    """A random forest on the digits; the score is accuracy."""
    from sklearn.ensemble._forest import RandomForestClassifier

    model = RandomForestClassifier(task.rounds(260), random_state=task.seed, n_jobs=task.threads)
    return _fit(model, _digits(task.seed))


def boosting(task: Task) -> Trained:
    """Histogram gradient boosting on generated interactions; the score is accuracy."""
    from sklearn.ensemble._hist_gradient_boosting.gradient_boosting import HistGradientBoostingClassifier

    model = HistGradientBoostingClassifier(
        max_iter=task.rounds(520), learning_rate=0.05, early_stopping=False, random_state=task.seed
    )
    return _fit(model, _interactions(task.seed, 8_000))


def kmeans(task: Task) -> Trained:
    """k-means on generated clusters; the score is the share of rows in a cluster of their own label."""
    import numpy as np
    from sklearn.cluster._kmeans import KMeans

    data = _blobs(task.seed, 12_000)
    model = KMeans(12, n_init=task.rounds(26), random_state=task.seed)
    began = time.perf_counter()
    model.fit(data.train)
    took = time.perf_counter() - began
    clusters = model.predict(data.test)
    table = np.zeros((12, 12), dtype=int)
    np.add.at(table, (clusters, data.test_labels), 1)
    return Trained(float(table.max(axis=1).sum() / table.sum()), took)


def _best(models: Sequence[Any], data: Data, threads: int) -> Trained:
    """Fit them all and take the best. The first one alone: late packages must run in one thread."""
    from joblib import Parallel, delayed

    began = time.perf_counter()
    first = _fit(models[0], data)
    others = Parallel(n_jobs=threads, prefer="threads")(delayed(_fit)(model, data) for model in models[1:])
    return Trained(max(run.score for run in (first, *others)), time.perf_counter() - began)


def svm(task: Task) -> Trained:
    """Support vector machines on the digits over a grid of widths; the score is the best accuracy."""
    from sklearn.svm._classes import SVC

    widths = [0.001 * 1.5**step for step in range(task.rounds(8))]
    models = [SVC(gamma=width, random_state=task.seed) for width in widths]
    return _best(models, _digits(task.seed), task.threads)


def logistic(task: Task) -> Trained:
    """Logistic regression on the breast cancer data over a grid of penalties; the best accuracy."""
    from sklearn.linear_model._logistic import LogisticRegression

    penalties = [10.0 ** (step / 8 - 2) for step in range(task.rounds(40))]
    models = [LogisticRegression(C=penalty, max_iter=1000) for penalty in penalties]
    return _best(models, _breast_cancer(task.seed), task.threads)


def mlp(task: Task) -> Trained:
    """A neural network with one hidden layer on the digits; the score is accuracy."""
    import warnings

    from sklearn.exceptions import ConvergenceWarning
    from sklearn.neural_network._multilayer_perceptron import MLPClassifier

    warnings.simplefilter("ignore", ConvergenceWarning)  # the number of steps is the job's size
    model = MLPClassifier((96,), max_iter=task.rounds(80), random_state=task.seed)
    return _fit(model, _digits(task.seed))


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
    parser.add_argument("--threads", type=int, help="default: OMP_NUM_THREADS, else 1")
    parser.add_argument("--plain-imports", action="store_true", help="import whole packages, as usual")
    return parser.parse_args(arguments)


def _threads(asked: int | None) -> int:
    """Threads of the fit; also fixed in the environment, which the numeric libraries read when loaded."""
    named = os.environ.get("OMP_NUM_THREADS", "")
    threads = asked if asked is not None else int(named) if named.isdecimal() else 1
    if threads < 1:
        raise SystemExit(f"--threads: {threads} is not at least 1")
    for name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS"):
        if asked is not None or name not in os.environ:
            os.environ[name] = str(threads)
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")  # spinning threads eat quota
    return threads


def main(arguments: Sequence[str] | None = None) -> int:
    """Train one job and print its line: kind, seed, score, fit_seconds."""
    chosen = _parse(sys.argv[1:] if arguments is None else arguments)
    task = Task(seed=chosen.seed, scale=chosen.scale, threads=_threads(chosen.threads))
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
