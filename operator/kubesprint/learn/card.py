"""The model card: what a fitted grey box is, what it was fitted to, and what it does not know."""

from collections.abc import Mapping
from typing import Any

from kubesprint.learn.learning import Learned
from kubesprint.learn.predictor import View


def card_of(learned: Learned) -> dict[str, Any]:
    """The facts of a card, as JSON values."""
    white, doubt = learned.model.white, learned.model.doubt
    guessed = {f"{where}/{kind}": found.guessed for (where, kind), found in white.kinds.items()}
    return {
        "learned": learned.part.value,
        "reason": learned.reason,
        "unseen_runs_mean_error": dict(learned.errors),
        "details": dict(learned.notes),
        "training_runs": len(white.drifts),
        "drift_spread": dict(white.drift_spread),
        "dead_seconds": dict(white.dead),
        "model_spread": doubt.model,
        "interval_widening": {view.value: factor for view, factor in doubt.widening.items()},
        "kinds": {
            f"{where}/{kind}": {
                "work_cpu_seconds": found.work.work,
                "work_standard_error": found.work.work_error,
                "spread": found.work.spread,
                "jobs": found.work.samples,
                "speedup": found.speedup,
                "inflation": found.work.inflation,
                "inflation_standard_error": found.work.inflation_error,
            }
            for (where, kind), found in sorted(white.kinds.items())
        },
        "guessed": {where: why for where, why in guessed.items() if why},
    }


def card_text(learned: Learned) -> str:
    """The card as Markdown."""
    card = card_of(learned)
    return "\n".join(
        [
            "# Model card: grey box of kubesprint",
            "",
            f"- Fitted to {card['training_runs']} runs of {len(learned.model.white.mechanisms)} mechanisms.",
            f"- Learned part: {card['learned']} ({card['reason']}).",
            *_errors(card["unseen_runs_mean_error"]),
            *_roots(card["details"]),
            f"- Drift from run to run (standard deviation): {_shares(card['drift_spread'])}.",
            f"- Time to start a job: {_milliseconds(card['dead_seconds'])}.",
            f"- Intervals widened, so that they hold unseen runs: {_widening(card['interval_widening'])}.",
            "- Not trusted: kinds and mechanisms that are not listed; unreliable above a load of 0.9.",
            *(f"- Assumed for {where}: {why}." for where, why in card["guessed"].items()),
            "",
            "| mechanism/kind | jobs | work, CPU s | job to job | speed-up | inflation |",
            "|---|---|---|---|---|---|",
            *(_row(name, kind) for name, kind in card["kinds"].items()),
            "",
        ]
    )


def _errors(errors: Mapping[str, float]) -> list[str]:
    if not errors:
        return ["- Too few runs to leave any out: nothing is known of its error on unseen ones."]
    listed = ", ".join(f"{part} {error:.1%}" for part, error in errors.items())
    return [f"- Mean error on training runs left out, sizes known, by learned part: {listed}."]


def _roots(details: Mapping[str, Any]) -> list[str]:
    if "runs_with_root" not in details:
        return [f"- Learned from {details['sprints']} sprints."] if "sprints" in details else []
    rootless, idle = details["runs_without_root"], details["runs_that_did_not_depend_on_it"]
    return [
        f"- Effective rate from {details['runs_with_root']} runs; dropped: {rootless} that no rate explains, "
        f"{idle} whose response does not depend on it."
    ]


def _shares(values: Mapping[str, float]) -> str:
    return ", ".join(f"{name} {value:.1%}" for name, value in values.items())


def _milliseconds(values: Mapping[str, float]) -> str:
    return ", ".join(f"{name} {1000 * value:.1f} ms" for name, value in values.items())


def _widening(values: Mapping[str, float]) -> str:
    return ", ".join(f"{values[view.value]:.2f} ({view.value.replace('_', ' ')})" for view in View)


def _row(name: str, kind: Mapping[str, float]) -> str:
    return (
        f"| {name} | {kind['jobs']} | {kind['work_cpu_seconds']:.3f} ± {kind['work_standard_error']:.1%} "
        f"| {kind['spread']:.1%} | {kind['speedup']:.2f} "
        f"| {kind['inflation']:.3f} ± {kind['inflation_standard_error']:.1%} |"
    )
