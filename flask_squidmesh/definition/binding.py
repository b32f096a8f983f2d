"""What a step function takes, and how its arguments come out of a run's state."""

from __future__ import annotations

import functools
import inspect
import json
import types
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Annotated, Any, Union, get_args, get_origin, get_type_hints

from pydantic import BaseModel, TypeAdapter, ValidationError

from .context import CompensationContext, StepContext
from .spec import Parameter, StepSpec
from .state_expressions import MISSING, lookup, names, parse
from .values import JsonObject, JsonValue, sentences


def resolved(function: Callable[..., object]) -> Mapping[str, object]:
    """The resolved annotations of a callable. Raises what Python raises where one cannot be resolved."""
    return get_type_hints(written(function), include_extras=True)


def written(function: object) -> object:
    """The function that a callable object, a class or a functools.partial calls in the end."""
    while isinstance(function, functools.partial):
        function = function.func
    if inspect.isclass(function):
        return function.__init__
    return function if inspect.isroutine(function) else type(function).__call__


def name_of(function: object) -> str:
    """What the function is called."""
    while isinstance(function, functools.partial):
        function = function.func
    return str(getattr(function, "__name__", type(function).__name__))


def pinned_names(function: object) -> frozenset[str]:
    """Parameters that functools.partial has filled by keyword."""
    found: frozenset[str] = frozenset()
    while isinstance(function, functools.partial):
        found |= frozenset(function.keywords)
        function = function.func
    return found


def members(annotation: object) -> tuple[object, ...]:
    """What a union is made of; the annotation itself where it is none."""
    if get_origin(annotation) is Annotated:
        return members(get_args(annotation)[0])
    if get_origin(annotation) in (Union, types.UnionType):
        return tuple(member for each in get_args(annotation) for member in members(each))
    return (annotation,)


def shown(annotation: object) -> str:
    """The annotation as its author would write it."""
    return annotation.__name__ if isinstance(annotation, type) else str(annotation)


class ParametersError(ValueError):
    """A function cannot be a step as it is written. `problems` holds one sentence for each fault."""

    def __init__(self, problems: Sequence[str]) -> None:
        self.problems = tuple(problems)
        super().__init__("; ".join(problems))


class BindingError(Exception):
    """The state lacks what a step needs, or holds something else. `error` is the failure as it is kept.

    Its cause is what a validator of the host's raised that is no ValidationError.
    """

    def __init__(self, validation_errors: Mapping[str, str]) -> None:
        message = "The step's input is not valid: " + "; ".join(f"{n}: {text}" for n, text in validation_errors.items())
        details = {"validation_errors": dict(validation_errors)}
        self.error: dict[str, Any] = {"type": "InputError", "message": message, "details": details}
        super().__init__(message)


@dataclass(frozen=True, slots=True, kw_only=True)
class Bound:
    """The keyword arguments of one call, and the JSON data they were made from."""

    arguments: dict[str, object] = field(default_factory=dict)
    input: dict[str, JsonValue] = field(default_factory=dict)


def parameters_of(
    function: Callable[..., object],
    *,
    input: JsonObject | None = None,
    payload_models: Iterable[type[BaseModel]] = (),
    compensation: bool = False,
) -> tuple[Parameter, ...]:
    """How each parameter of a step function is bound.

    input: paths of parameters that are not named as their value is. payload_models: the models of the triggers.
    compensation: whether the function undoes a step. Raises ParametersError with everything that stands in the way.
    """
    hints = _hints(function)
    reader = _SignatureReader(input or {}, tuple(payload_models), compensation)
    signature = _signature(function)
    parameters = [reader.read(each, hints.get(each.name, Any)) for each in signature]
    parameters += reader.read_others(signature)
    if reader.problems:
        raise ParametersError(reader.problems)
    return tuple(parameter for parameter in parameters if parameter is not None)


class _SignatureReader:
    def __init__(self, input: JsonObject, models: tuple[type[BaseModel], ...], compensation: bool) -> None:
        self.input, self.models, self.compensation = input, models, compensation
        self.problems: list[str] = []

    def read(self, parameter: inspect.Parameter, annotation: object) -> Parameter | None:
        if parameter.kind is parameter.VAR_POSITIONAL:
            self.problems.append(f"*{parameter.name} cannot be bound by name; name each parameter")
            return None
        if parameter.kind is parameter.POSITIONAL_ONLY:
            self.problems.append(f"{parameter.name} is positional only and cannot be bound by name; remove the `/`")
            return None
        if parameter.kind is parameter.VAR_KEYWORD:
            return Parameter(name=parameter.name, source="state", required=False)
        if parameter.name == "ctx" or _is_context(annotation):
            return self._context(parameter, annotation)
        return self._value(parameter, annotation)

    def _context(self, parameter: inspect.Parameter, annotation: object) -> Parameter:
        if parameter.name in self.input:
            self.problems.append(f"input= names {parameter.name}, which takes the context; remove it from input=")
        if not self.compensation and _is_context(annotation, CompensationContext):
            self.problems.append(
                f"{parameter.name} is annotated CompensationContext, which only compensations get; write StepContext"
            )
        return Parameter(name=parameter.name, source="context")

    def _value(self, parameter: inspect.Parameter, annotation: object) -> Parameter | None:
        name, adapter = parameter.name, self._adapter(parameter.name, annotation)
        required = parameter.default is parameter.empty
        if name not in self.input and _takes_payload(annotation, self.models):
            return Parameter(name=name, source="payload", adapter=adapter, required=required)
        path = parse(self.input.get(name, (name,)))
        if path is None:
            self.problems.append(
                f"input= gives {name} the path {self.input[name]!r}; write names joined by dots, as "
                f'input={{"{name}": "account.id"}}'
            )
            return None
        return Parameter(name=name, source="state", path=path, adapter=adapter, required=required)

    def _adapter(self, name: str, annotation: Any) -> TypeAdapter[Any] | None:
        try:
            adapter = TypeAdapter(annotation)
            if adapter.pydantic_complete or adapter.rebuild():
                return adapter
        except Exception:  # pydantic raises errors of many kinds here
            pass
        self.problems.append(
            f"{name} is annotated {shown(annotation)}, which pydantic cannot validate; "
            "annotate it with JSON types, a pydantic model or a dataclass"
        )
        return None

    def read_others(self, signature: Sequence[inspect.Parameter]) -> list[Parameter | None]:
        """What input= names besides the declared parameters, which only **kwargs can take."""
        known = [each.name for each in signature]
        others = [name for name in self.input if name not in known]
        if any(each.kind is each.VAR_KEYWORD for each in signature):
            return [self._value(inspect.Parameter(name, inspect.Parameter.KEYWORD_ONLY), Any) for name in others]
        self.problems.extend(
            f"input= names {name!r}, which is no parameter of the function; "
            f"it takes {', '.join(known) or 'no parameters'}"
            for name in others
        )
        return []


def _signature(function: Callable[..., object]) -> list[inspect.Parameter]:
    try:
        parameters = inspect.signature(function).parameters
    except (ValueError, TypeError) as error:
        raise ParametersError(["its parameters cannot be read; wrap it in a function of your own"]) from error
    pinned = pinned_names(function)
    return [each for name, each in parameters.items() if name not in pinned]


def _hints(function: Callable[..., object]) -> Mapping[str, object]:
    try:
        return resolved(function)
    except Exception as error:
        raise ParametersError(
            [
                f"its annotations cannot be resolved ({error}); import what they name "
                "at the top of its module and when that runs, not under TYPE_CHECKING"
            ]
        ) from error


def _is_context(annotation: object, wanted: type[StepContext] = StepContext) -> bool:
    return any(isinstance(each, type) and issubclass(each, wanted) for each in members(annotation))


def _takes_payload(annotation: object, models: tuple[type[BaseModel], ...]) -> bool:
    wanted = [each for each in members(annotation) if each is not type(None)]
    return bool(wanted) and all(any(each is model for model in models) for each in wanted)


def opening_keys(step: StepSpec) -> frozenset[str]:
    """The top-level names of the state that say what a step asks of whom or awaits, and by when, as it is entered."""
    people = [step.assignee, *step.groups, step.awaits.key if step.awaits else None]
    for each in step.escalate:
        people += [each.assignee, *each.groups]
    forms = [option.form for option in step.options if option.form is not None]
    fields = {name: step.form_input.get(name, (name,)) for form in forms for name in form.model_fields}
    paths = [path for path in (step.within_at, step.until, *fields.values()) if path]
    texts = [text for text in (step.prompt, *people) if text]
    found = {name.partition(".")[0] for text in texts for name in names(text)}
    return frozenset(found.union(path[0] for path in paths))


def needed_by(parameters: Iterable[Parameter]) -> frozenset[str] | None:
    """The top-level names of the state that these parameters read; None where one takes everything."""
    paths = [parameter.path for parameter in parameters if parameter.source == "state"]
    return frozenset(path[0] for path in paths) if all(paths) else None


def bind(
    parameters: Iterable[Parameter],
    *,
    payload: JsonObject,
    state: JsonObject,
    context: StepContext | None,
    payload_model: type[BaseModel] | None = None,
    disputed: Mapping[str, tuple[str, str]] = MappingProxyType({}),
) -> Bound:
    """The arguments for one call, validated and coerced by pydantic.

    payload: the run's payload. payload_model: the model of the trigger that started it. state: payload and outputs,
    merged. context: what a context parameter gets. disputed: keys of the state that two steps returned, none of which
    was before the other. Raises BindingError naming every parameter that cannot be filled.
    """
    parameters, bound, errors, causes = tuple(parameters), Bound(), dict[str, str](), list[Exception]()
    given = _without_computed(payload, payload_model)
    for parameter in parameters:
        if parameter.source == "context":
            bound.arguments[parameter.name] = context
            continue
        if parameter.source == "state" and (fault := _dispute(parameter, parameters, disputed)):
            errors[parameter.name] = fault
            continue
        try:
            if parameter.source == "state" and not parameter.path:
                _bind_rest(parameters, state, bound)
            else:
                found = given if parameter.source == "payload" else lookup(state, parameter.path)
                _bind_value(parameter, found, bound, errors)
        except Exception as raised:  # validators are the host's, and raise what they like
            errors[parameter.name] = f"it could not be read: {type(raised).__name__}"
            causes.append(raised)
    if errors:
        raise BindingError(errors) from next(iter(causes), None)
    return bound


def _dispute(
    parameter: Parameter, parameters: Sequence[Parameter], disputed: Mapping[str, tuple[str, str]]
) -> str | None:
    """Why the parameter cannot be filled where two steps have returned what it takes; **rest takes what is left."""
    named = {each.name for each in parameters}
    keys = parameter.path[:1] if parameter.path else sorted(disputed.keys() - named)
    for key in keys:
        if key in disputed:
            one, other = disputed[key]
            return (
                f"steps {one} and {other} ran side by side and both returned {key}; declare one of them with "
                f'output="..." and take it from there by input='
            )
    return None


def _bind_value(parameter: Parameter, found: Any, bound: Bound, errors: dict[str, str]) -> None:
    if found is MISSING:
        if parameter.required:
            place = ".".join(parameter.path)
            errors[parameter.name] = f"required, but neither the payload nor an earlier step's output holds {place}"
        return
    text = json.dumps(found)
    adapter = parameter.adapter or _ANYTHING
    try:
        # JSON mode, so that strict models take dates and decimals from their text; and the function gets its own copy.
        bound.arguments[parameter.name] = adapter.validate_json(text, by_alias=True, by_name=True)
        bound.input[parameter.name] = found
    except ValidationError as error:
        errors[parameter.name] = sentences(error)


def _bind_rest(parameters: Sequence[Parameter], state: JsonObject, bound: Bound) -> None:
    named = {parameter.name for parameter in parameters}
    rest = {key: value for key, value in state.items() if key not in named}
    bound.arguments.update(json.loads(json.dumps(rest)))
    bound.input.update(rest)


def _without_computed(payload: JsonObject, model: type[BaseModel] | None) -> JsonObject:
    computed = model.model_computed_fields if model else {}
    return {key: value for key, value in payload.items() if key not in computed}


_ANYTHING: TypeAdapter[Any] = TypeAdapter(Any)
