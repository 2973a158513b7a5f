"""What pydantic found wrong, told in the terms of the file."""

from __future__ import annotations

from collections.abc import Iterator
from types import UnionType
from typing import Annotated, Any, Literal, TypeVar, Union, get_args, get_origin

from pydantic import BaseModel, TypeAdapter, ValidationError
from pydantic_core import ErrorDetails

from simkit.errors import WorkflowError
from simkit.workflow.document import Document, Keys, dotted, suggestion

T = TypeVar("T")


def validate(document: Document, annotation: type[T] | Any, data: Any, keys: Keys = ()) -> T:
    """Validate a part of a document.

    Args:
        document: where the data was read.
        annotation: a pydantic model or any type that pydantic understands.
        data: the value to validate.
        keys: where it stands in the document.

    Raises:
        WorkflowError: one line for each problem: file, line, key, what was expected and what was found.
    """
    try:
        return TypeAdapter(annotation).validate_python(data)
    except ValidationError as error:
        lines = [_line(document, annotation, data, keys, detail) for detail in error.errors(include_url=False)]
        raise WorkflowError("\n".join(dict.fromkeys(lines))) from error


def _line(document: Document, annotation: Any, data: Any, keys: Keys, detail: ErrorDetails) -> str:
    inner = _keys_in_data(data, detail["loc"], keep_last=detail["type"] in ("missing", "extra_forbidden"))
    full = (*keys, *inner)
    return f"{document.where(full)}: {dotted(full) or 'top level'}: {_problem(annotation, detail)}"


def _problem(annotation: Any, detail: ErrorDetails) -> str:
    kind = detail["type"]
    if kind == "missing":
        return "this key is required and missing"
    if kind == "extra_forbidden":
        name = str(detail["loc"][-1])
        models = _models_at(annotation, detail["loc"][:-1])
        deeper = next((path for model in models for path in _paths_to(name, model)), None)
        names = sorted(found for model in models for found in _names(model))
        hint = f"did you mean '{deeper}'?" if deeper else suggestion(name, names)
        return f"unknown key; {hint}"
    if kind == "union_tag_not_found":
        return f"expected the key {detail['ctx']['discriminator']}, which chooses what the other keys mean"
    if kind == "union_tag_invalid":
        tags = [tag.strip("' ") for tag in detail["ctx"]["expected_tags"].split(",")]
        key = detail["ctx"]["discriminator"].strip("'")
        return f"{key}: unknown value '{detail['ctx']['tag']}'; {suggestion(detail['ctx']['tag'], tags)}"
    return _expected(detail)


def _expected(detail: ErrorDetails) -> str:
    message = detail["msg"].removeprefix("Value error, ").removeprefix("Assertion failed, ")
    if detail["type"] == "string_pattern_mismatch":
        return f"expected a text of the form {detail['ctx']['pattern']}, found {_short(detail['input'])}"
    if detail["type"] == "too_short":
        return f"expected at least {detail['ctx']['min_length']}, found {detail['ctx']['actual_length']}"
    if not message.startswith("Input should be "):
        if detail["type"] == "value_error" and isinstance(detail["input"], dict):
            return message  # of a validator of several keys at once, which names them
        return f"{message[:1].lower()}{message[1:]}, found {_short(detail['input'])}"
    wanted = message.removeprefix("Input should be ").replace("a valid dictionary", "a mapping (key: value)")
    wanted = (
        wanted.replace("an instance of", "a mapping of").replace("a valid ", "a ").replace("a integer", "an integer")
    )
    if wanted.startswith(("greater", "less")):
        wanted = f"a value {wanted}"
    return f"expected {wanted}, found {_short(detail['input'])}"


def _short(value: Any) -> str:
    if value is None:
        return "nothing"
    if isinstance(value, dict):
        return "a mapping"
    text = repr(value)
    return text if len(text) <= 60 else f"{text[:57]}..."


def _keys_in_data(data: Any, location: tuple[str | int, ...], keep_last: bool) -> Keys:
    """The part of pydantic's location that exists in the file: names of union members are left out."""
    keys: list[str | int] = []
    for index, item in enumerate(location):
        mapped = isinstance(data, dict) and item in data
        listed = isinstance(data, list | tuple) and isinstance(item, int) and item < len(data)
        if mapped or listed:
            data = data[item]
        elif not (keep_last and index == len(location) - 1):
            continue
        keys.append(item)
    return tuple(keys)


def _models_at(annotation: Any, location: tuple[str | int, ...]) -> list[type[BaseModel]]:
    """The models that a location leads to."""
    reached = list(_models_and_types(annotation))
    for item in location:
        following: list[Any] = []
        for one in reached:
            following.extend(_inside(one, item))
        reached = following or _members(reached, item)
    return [one for one in reached if _is_model(one)]


def _paths_to(name: str, model: type[BaseModel]) -> Iterator[str]:
    """Where else a key is known: ``training.max_epochs`` for ``max_epochs``."""
    for key, field in model.model_fields.items():
        for inner in _models_and_types(field.annotation):
            if _is_model(inner):
                if name in _names(inner):
                    yield f"{field.alias or key}.{name}"
                yield from (f"{field.alias or key}.{path}" for path in _paths_to(name, inner))


def _members(reached: list[Any], item: str | int) -> list[Any]:
    """The members of a union that its label in the location means, if the label is a class name or a tag."""
    chosen = [one for one in reached if _is_model(one) and (one.__name__ == item or item in _tags(one))]
    return chosen or reached


def _tags(model: type[BaseModel]) -> set[Any]:
    literals = (field.annotation for field in model.model_fields.values() if get_origin(field.annotation) is Literal)
    return {value for literal in literals for value in get_args(literal)}


def _inside(annotation: Any, item: str | int) -> Iterator[Any]:
    if _is_model(annotation):
        for name, field in annotation.model_fields.items():
            if item in (name, field.alias):
                yield from _models_and_types(field.annotation)
    elif get_origin(annotation) in (list, tuple) and isinstance(item, int):
        yield from _models_and_types(get_args(annotation)[0])
    elif get_origin(annotation) is dict:
        yield from _models_and_types(get_args(annotation)[1])


def _models_and_types(annotation: Any) -> Iterator[Any]:
    """The annotation without Annotated, and a union's members one by one."""
    if get_origin(annotation) is Annotated:
        yield from _models_and_types(get_args(annotation)[0])
    elif get_origin(annotation) in (Union, UnionType):
        for member in get_args(annotation):
            yield from _models_and_types(member)
    else:
        yield annotation


def _is_model(annotation: Any) -> bool:
    return isinstance(annotation, type) and issubclass(annotation, BaseModel)


def _names(model: type[BaseModel]) -> Iterator[str]:
    for name, field in model.model_fields.items():
        yield field.alias or name
