"""A fitted grey box as JSON values and back: what is kept between processes. No code, only numbers."""

from collections.abc import Mapping
from dataclasses import asdict
from types import MappingProxyType
from typing import Any

from kubesprint.core.dataset import Knob, Mechanism
from kubesprint.core.errors import Corrupt
from kubesprint.core.sealed import seal, unseal
from kubesprint.core.simulation import QueueSimulator
from kubesprint.core.units import Cores
from kubesprint.learn.course import plain_simulator
from kubesprint.learn.predictor import View
from kubesprint.learn.residual import JOB_FEATURES, SETTING_FEATURES, Codes, JobResidual, SettingResidual
from kubesprint.learn.serving import Doubt, GreyModel
from kubesprint.learn.speeds import KindSpeed
from kubesprint.learn.tables import Forest
from kubesprint.learn.whitebox import Kind, WhiteBox
from kubesprint.learn.work import KindWork

SCHEMA = "kubesprint.dev/grey-box/1"


def write_model(model: GreyModel) -> str:
    """The text of a model file."""
    return seal(SCHEMA, document_of(model))


def read_model(text: str, simulator: QueueSimulator = plain_simulator) -> GreyModel:
    """The model of a file: it answers exactly as the one that was written.

    Raises:
        Corrupt: the file is damaged, of another schema, or does not hold a model.
    """
    return model_of(unseal(SCHEMA, text), simulator)


def document_of(model: GreyModel) -> dict[str, Any]:
    """A model as JSON values."""
    white = model.white
    return {
        "mechanisms": [
            asdict(mechanism) | {"knob": mechanism.knob.value} for mechanism in white.mechanisms.values()
        ],
        "kinds": _kinds(white.kinds),
        "elsewhere": _kinds(white.elsewhere),
        "drift_spread": dict(white.drift_spread),
        "drifts": dict(white.drifts),
        "dead": dict(white.dead),
        "doubt": {
            "model": model.doubt.model,
            "widening": {view.value: factor for view, factor in model.doubt.widening.items()},
        },
        "setting": None
        if model.setting is None
        else _codes(model.setting.codes)
        | {
            "forest": model.setting.forest.document(),
            "roots": model.setting.roots,
            "dropped": model.setting.dropped,
            "idle": model.setting.idle,
        },
        "job": None
        if model.job is None
        else _codes(model.job.codes) | {"forest": model.job.forest.document(), "jobs": model.job.jobs},
    }


def _kinds(kinds: Mapping[tuple[str, str], Kind]) -> list[dict[str, Any]]:
    return [
        {"mechanism": mechanism, "kind": name, "work": asdict(kind.work) | {"own": list(kind.work.own)},
         "speed": asdict(kind.speed)}
        for (mechanism, name), kind in kinds.items()
    ]  # fmt: skip


def _codes(codes: Codes) -> dict[str, Any]:
    return {"mechanism_codes": list(codes.mechanisms), "kind_codes": list(codes.kinds)}


def model_of(document: Any, simulator: QueueSimulator = plain_simulator) -> GreyModel:
    """The model of a document. Raises `Corrupt` if it does not hold one."""
    try:
        return GreyModel(
            white=_white(document),
            setting=_setting(document["setting"]),
            job=_job(document["job"]),
            doubt=_doubt(document["doubt"]),
            simulator=simulator,
        )
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise Corrupt(f"it does not hold a model: {type(error).__name__}: {error}") from error


def _white(document: Mapping[str, Any]) -> WhiteBox:
    mechanisms = [_mechanism(one) for one in document["mechanisms"]]
    return WhiteBox(
        kinds=_kinds_of(document["kinds"]),
        elsewhere=_kinds_of(document["elsewhere"]),
        mechanisms={mechanism.name: mechanism for mechanism in mechanisms},
        drift_spread=_numbers(document["drift_spread"]),
        drifts=_numbers(document["drifts"]),
        dead=_numbers(document["dead"]),
    )


def _mechanism(document: Mapping[str, Any]) -> Mechanism:
    return Mechanism(
        name=str(document["name"]),
        knob=Knob(document["knob"]),
        threads=int(document["threads"]),
        base_cores=Cores(float(document["base_cores"])),
        sprint_cores=Cores(float(document["sprint_cores"])),
    )


def _kinds_of(rows: list[Mapping[str, Any]]) -> dict[tuple[str, str], Kind]:
    return {
        (str(row["mechanism"]), str(row["kind"])): Kind(
            work=KindWork(**{**row["work"], "own": tuple(float(one) for one in row["work"]["own"])}),
            speed=KindSpeed(**row["speed"]),
        )
        for row in rows
    }


def _numbers(document: Mapping[str, Any]) -> dict[str, float]:
    return {str(name): float(value) for name, value in document.items()}


def _doubt(document: Mapping[str, Any]) -> Doubt:
    widening = {View(name): float(factor) for name, factor in document["widening"].items()}
    return Doubt(model=float(document["model"]), widening=MappingProxyType(widening))


def _codes_of(document: Mapping[str, Any]) -> Codes:
    return Codes(
        mechanisms=tuple(str(name) for name in document["mechanism_codes"]),
        kinds=tuple(str(name) for name in document["kind_codes"]),
    )


def _forest(document: Mapping[str, Any], names: tuple[str, ...]) -> Forest:
    forest = Forest.of_document(document)
    if forest.names != names:
        raise Corrupt(f"its forest was fitted to other features: {', '.join(forest.names)}")
    return forest


def _setting(document: Mapping[str, Any] | None) -> SettingResidual | None:
    if document is None:
        return None
    return SettingResidual(
        forest=_forest(document["forest"], SETTING_FEATURES),
        codes=_codes_of(document),
        roots=int(document["roots"]),
        dropped=int(document["dropped"]),
        idle=int(document["idle"]),
    )


def _job(document: Mapping[str, Any] | None) -> JobResidual | None:
    if document is None:
        return None
    return JobResidual(
        forest=_forest(document["forest"], JOB_FEATURES),
        codes=_codes_of(document),
        jobs=int(document["jobs"]),
    )
