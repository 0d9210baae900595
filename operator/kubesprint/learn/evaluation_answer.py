"""An evaluation as JSON values, as a table for people, and as rows for a spreadsheet."""

from collections.abc import Iterator, Sequence
from typing import Any

from kubesprint.learn.evaluation import (
    MEASURES,
    Evaluation,
    Spread,
    coverage,
    error_of,
    median_interval,
    value,
)
from kubesprint.learn.predictor import View

TITLES = {"mean": "mean response time", "p95": "95th percentile of the response time"}
VIEWS = {View.RAW: "raw", View.DRIFT_NORMALISED: "drift-normalised", View.KNOWN_SIZES: "known sizes"}


def as_json(evaluation: Evaluation) -> dict[str, Any]:
    """The answer of `kubesprint evaluate --json`; docs/evaluate.md describes it."""
    return {
        "predictors": {
            name: {
                measure: {
                    view.value: _spread(Spread.of(evaluation.errors(name, measure, view)))
                    for view in entry.answers
                }
                for measure in MEASURES
            }
            for name, entry in evaluation.entries.items()
        },
        "settings": _settings(evaluation),
        "noise_floor": {measure: _spread(evaluation.noise_floor[measure]) for measure in MEASURES},
        "details": _details(evaluation),
    }


def _spread(spread: Spread | None) -> dict[str, float | None]:
    if spread is None:
        return {"median": None, "p90": None, "worst": None}
    return {"median": spread.median, "p90": spread.p90, "worst": spread.worst}


def _settings(evaluation: Evaluation) -> list[dict[str, Any]]:
    return [
        {
            "setting": run.setting.setting,
            "run": run.setting.run,
            "measured": {measure: value(run.measured, measure) for measure in MEASURES},
            "predicted": {
                name: {
                    measure: {
                        view.value: value(answers[index], measure) for view, answers in entry.answers.items()
                    }
                    for measure in MEASURES
                }
                for name, entry in evaluation.entries.items()
            },
        }
        for index, run in enumerate(evaluation.scored)
    ]


def _details(evaluation: Evaluation) -> dict[str, Any]:
    """What a careful reader asks next."""
    entries = evaluation.entries
    return {
        "runs": {
            "fitted": evaluation.training,
            "scored": len(evaluation.scored),
            "settings_run_more_than_once": evaluation.repeated,
        },
        "warnings": list(evaluation.warnings),
        "median_95_percent_interval": {
            name: {
                measure: {
                    view.value: list(median_interval(evaluation.errors(name, measure, view)))
                    for view in entry.answers
                }
                for measure in MEASURES
            }
            for name, entry in entries.items()
        },
        "coverage_of_intervals": {
            name: covered
            for name, entry in entries.items()
            if (
                covered := {
                    view.value: {f"{level:g}": share for level, share in found.items()}
                    for view, answers in entry.answers.items()
                    if (found := coverage(answers, evaluation.scored))
                }
            )
        },
        "untrusted": _untrusted(evaluation),
        "cards": {name: dict(entry.card) for name, entry in entries.items()},
    }


def _untrusted(evaluation: Evaluation) -> dict[str, dict[str, list[str]]]:
    """By run and predictor: why an answer is not trusted."""
    found: dict[str, dict[str, list[str]]] = {}
    for index, run in enumerate(evaluation.scored):
        for name, entry in evaluation.entries.items():
            answer = entry.answers[View.RAW][index]
            if not answer.trusted:
                found.setdefault(run.setting.run, {})[name] = list(answer.notes)
    return found


# --- for people -------------------------------------------------------------------------------------


def as_text(evaluation: Evaluation) -> str:
    """One table a measure: median / 90th percentile / worst error in percent, by view."""
    parts = [_table(evaluation, measure) for measure in MEASURES]
    untrusted = _untrusted(evaluation)
    if untrusted:
        parts.append(f"Not trusted, because of what training did not show: {', '.join(untrusted)}.")
    return "\n\n".join(parts)


def _table(evaluation: Evaluation, measure: str) -> str:
    rows = [["predictor", *VIEWS.values()]]
    for name, entry in evaluation.entries.items():
        cells = [
            _cell(Spread.of(evaluation.errors(name, measure, view)) if view in entry.answers else None)
            for view in VIEWS
        ]
        rows.append([name, *cells])
    rows.append(["noise floor", _cell(evaluation.noise_floor[measure])])
    count = len(evaluation.scored)
    title = (
        f"Error of the {TITLES[measure]} on {count} test runs, fitted to {evaluation.training}:\n"
        "median / 90th percentile / worst, in percent\n\n"
    )
    return title + "\n".join(_aligned(rows))


def _cell(spread: Spread | None) -> str:
    if spread is None:
        return "-"
    return " / ".join(_percent(share) for share in (spread.median, spread.p90, spread.worst))


def _percent(share: float) -> str:
    return f"{100 * share:.1f}" if share < 1 else f"{100 * share:.0f}"


def _aligned(rows: Sequence[Sequence[str]]) -> Iterator[str]:
    columns = max(len(row) for row in rows)
    widths = [max(len(row[i]) for row in rows if i < len(row)) for i in range(columns)]
    for row in rows:
        yield "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=False)).rstrip()


# --- for spreadsheets -------------------------------------------------------------------------------

COLUMNS = ("run", "setting", "predictor", "view", "measure", "measured_seconds", "predicted_seconds", "error")


def as_rows(evaluation: Evaluation) -> Iterator[tuple[str | float, ...]]:
    """One row for each run, predictor, view and measure, under `COLUMNS`."""
    for index, run in enumerate(evaluation.scored):
        for name, entry in evaluation.entries.items():
            for view, answers in entry.answers.items():
                for measure in MEASURES:
                    predicted, measured = value(answers[index], measure), value(run.measured, measure)
                    yield (
                        run.setting.run,
                        run.setting.setting,
                        name,
                        view.value,
                        measure,
                        measured,
                        predicted,
                        error_of(predicted, measured),
                    )
