"""From pydantic's findings to sentences: what was found, and what would be accepted."""

from collections.abc import Callable
from types import UnionType
from typing import Annotated, Any, TypeVar, Union, get_args, get_origin

from pydantic import BaseModel, ValidationError
from pydantic_core import ErrorDetails

from kubesprint.adapters.wire.base import API_VERSION, Document, Wire, nearest
from kubesprint.adapters.wire.quantities import quote
from kubesprint.core.spec import Invalid, Problem

Model = TypeVar("Model", bound=Wire)


def validate(model: type[Model], kind: str, document: Document) -> Model:
    """The document as a model.

    Raises:
        Invalid: another kind or version (then nothing else is checked), or anything else wrong with it.
    """
    if foreign := _foreign(kind, document):
        raise Invalid(foreign)
    try:
        return model.model_validate(dict(document))
    except ValidationError as error:
        details = error.errors(include_url=False)
        raise Invalid([_problem(model, detail) for detail in details]) from None


def _foreign(kind: str, document: Document) -> list[Problem]:
    """Why this is not a document of ours of that kind."""
    problems = []
    for key, wanted in (("apiVersion", API_VERSION), ("kind", kind)):
        if key not in document:
            problems.append(Problem((key,), f"required; write {key}: {wanted}"))
        elif document[key] != wanted:
            problems.append(Problem((key,), f"{quote(document[key])} is not {wanted}"))
    return problems


def _problem(model: type[BaseModel], detail: ErrorDetails) -> Problem:
    path = tuple(part for part in detail["loc"] if part != "[key]")
    if detail["type"] == "extra_forbidden":
        return Problem(path, f"unknown key; {nearest(str(path[-1]), _keys(model, path[:-1]))}")
    if detail["type"] == "missing":
        return Problem(path, f"required{_example(model, path)}")
    found = detail["input"]
    sentence = _SENTENCES.get(detail["type"])
    if sentence is None:
        return Problem(path, f"{quote(found)} is not accepted: {detail['msg'].removeprefix('Value error, ')}")
    return Problem(path, sentence(model, detail))


def _mapping_expected(model: type[BaseModel], detail: ErrorDetails) -> str:
    keys = _keys(model, detail["loc"])
    with_keys = f" with keys from {', '.join(keys)}" if keys else ""
    return f"{quote(detail['input'])} is not a mapping{with_keys}"


def _text_expected(_: type[BaseModel], detail: ErrorDetails) -> str:
    found = detail["input"]
    plain = isinstance(found, bool | int | float)
    return f"{quote(found)} is not text{f'; quote it: {quote(quote(found))}' if plain else ''}"


def _list_expected(model: type[BaseModel], detail: ErrorDetails) -> str:
    return f"{quote(detail['input'])} is not a list{_example(model, detail['loc'])}"


_Sentence = Callable[[type[BaseModel], ErrorDetails], str]
_SENTENCES: dict[str, _Sentence] = {
    "value_error": lambda _, d: str(d["ctx"]["error"]),
    "model_type": _mapping_expected,
    "model_attributes_type": _mapping_expected,
    "dict_type": _mapping_expected,
    "string_type": _text_expected,
    "list_type": _list_expected,
    "tuple_type": _list_expected,
    "int_type": lambda _, d: f"{quote(d['input'])} is not a whole number",
    "bool_type": lambda _, d: f"{quote(d['input'])} is neither true nor false",
    "greater_than_equal": lambda _, d: f"{quote(d['input'])} is too small; at least {d['ctx']['ge']}",
    "less_than_equal": lambda _, d: f"{quote(d['input'])} is too large; at most {d['ctx']['le']}",
    "string_too_short": lambda _, d: (
        f"{quote(d['input'])} is too short; at least {d['ctx']['min_length']} character"
    ),
    "string_too_long": lambda _, d: f"{quote(d['input'])} is longer than {d['ctx']['max_length']} characters",
    "too_short": lambda _, d: f"empty; at least {d['ctx']['min_length']}",
    "too_long": lambda _, d: f"too many: more than {d['ctx']['max_length']}",
}


def _keys(model: type[BaseModel], path: tuple[str | int, ...]) -> list[str]:
    """The keys that the mapping at `path` may have; empty where any are allowed."""
    at: Any = model
    for part in path:
        at = _step(at, part)
    inner = _model(at)
    return [] if inner is None else [field.alias or name for name, field in inner.model_fields.items()]


def _example(model: type[BaseModel], path: tuple[str | int, ...]) -> str:
    at: Any = model
    for part in path[:-1]:
        at = _step(at, part)
    inner = _model(at)
    fields = {} if inner is None else {f.alias: f for f in inner.model_fields.values()}
    field = fields.get(str(path[-1]))
    return f"; write for example {field.examples[0]}" if field is not None and field.examples else ""


def _step(at: Any, part: str | int) -> Any:
    """The annotation one key or position further in."""
    if isinstance(part, int):
        return next((get_args(each)[0] for each in _members(at) if get_origin(each) in (list, tuple)), None)
    inner = _model(at)
    fields = {} if inner is None else inner.model_fields.values()
    return next((field.annotation for field in fields if field.alias == part), None)


def _model(annotation: Any) -> type[BaseModel] | None:
    models = (m for m in _members(annotation) if isinstance(m, type) and issubclass(m, BaseModel))
    return next(models, None)


def _members(annotation: Any) -> list[Any]:
    """The alternatives of a union, however it is written and annotated."""
    if get_origin(annotation) is Annotated:
        return _members(get_args(annotation)[0])
    if get_origin(annotation) in (Union, UnionType):
        return [member for each in get_args(annotation) for member in _members(each)]
    return [annotation]
