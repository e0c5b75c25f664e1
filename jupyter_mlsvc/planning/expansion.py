"""Turns a request that names a function or a model, or whose cell ends with one, into code."""

from __future__ import annotations

from dataclasses import replace

from msgspec import UNSET

from jupyter_mlsvc.cell_analysis import read_cell
from jupyter_mlsvc.errors import InvalidInput
from jupyter_mlsvc.planning.functions import (
    FunctionCall,
    call_of,
    call_of_source,
    is_defined_by,
    last_definition,
)
from jupyter_mlsvc.planning.models import is_fitted_model, model_of
from jupyter_mlsvc.planning.request import Parameter, Request
from jupyter_mlsvc.planning.sources import Here
from jupyter_mlsvc.wire.suggestions import did_you_mean


def expand(request: Request, here: Here) -> Request:
    """Fill in what a function or a model tells; a request of plain code stays as it is.

    Raises
    ------
    InvalidInput
        The function that it names is not here, or can't be published.
    """
    if request.is_expanded or request.model is not None:
        return request
    if request.function is not None:
        return _with_call(request, _call(request.function, here), request.code)
    if request.inputs is None and request.outputs is None:
        model = model_of(request.code, here.objects)
        if model is not None and not request.init_code:
            return replace(request, model=here.objects[model], model_name=model, is_expanded=True)
    return _of_definition(request, here)


def _call(name: str, here: Here) -> FunctionCall:
    if name not in here:
        functions = [
            each
            for each, value in here.objects.items()
            if callable(value) and not isinstance(value, type)
        ]
        raise InvalidInput(
            f"There is no function {name!r} in this notebook.{did_you_mean(name, functions)}"
        )
    function = here.objects[name]
    if is_fitted_model(function) or not callable(function):
        raise InvalidInput(f"{name!r} is no function but {type(function).__name__}.")
    return call_of(name, function)


def _of_definition(request: Request, here: Here) -> Request:
    """Publish the function of a cell that does nothing but define some."""
    if not _defines_only(request.code):
        return request
    definition = last_definition(request.code)
    name = "" if definition is None else definition.name
    function = here.objects.get(name)
    if function is not None and is_defined_by(function, request.code):
        return _with_call(request, call_of(name, function), "")
    call = call_of_source(request.code)
    if call is None:
        return request
    warnings = list(request.warnings)
    if function is not None:
        warnings.append(f"{name} in the notebook differs from this cell: the cell's is published.")
    source = request.code.rstrip("\n") + "\n"
    return replace(_with_call(request, call, source), warnings=warnings)


def _defines_only(code: str) -> bool:
    """Whether a cell ends with a function and sets nothing that could be an output."""
    return last_definition(code) is not None and not read_cell(code).outputs


def _with_call(request: Request, call: FunctionCall, before: str) -> Request:
    declared = request.outputs
    if declared is not None and len(declared) == len(call.outputs):
        # What the function returns has no names, so those that somebody gives are as good.
        outputs = [
            replace(own, name=each.name, type=each.type or own.type)
            for own, each in zip(call.outputs, declared, strict=True)
        ]
    else:
        outputs = _merged(call.outputs, declared)
    return replace(
        request,
        function=call.name,
        code=before + call.code(outputs),
        inputs=_merged(call.inputs, request.inputs),
        outputs=outputs,
        description=request.description or call.description or None,
        alias=request.alias or call.name,
        is_expanded=True,
    )


def _merged(own: list[Parameter], declared: list[Parameter] | None) -> list[Parameter]:
    """Take the types that somebody declared; a name that is not the function's is refused later."""
    if declared is None:
        return own
    by_name = {each.name: each for each in own}
    given = {each.name: each for each in declared}
    return [
        *(_with_given(each, given[each.name]) if each.name in given else each for each in own),
        *(each for each in declared if each.name not in by_name),
    ]


def _with_given(own: Parameter, given: Parameter) -> Parameter:
    """Take over what somebody declared of a parameter, but for its default."""
    if given.value is UNSET:
        return replace(own, type=given.type or own.type, description=given.description)
    return replace(given, type=given.type or own.type, default=own.default)
