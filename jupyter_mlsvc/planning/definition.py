"""Inputs and outputs of a service, as its cell, the notebook and the session tell them.

What somebody declared counts. The rest is read from the code: names that it reads and that hold
plain data are inputs, names that it sets and makes nothing more of are outputs. Types come from
the values that these names have now; the type of an output without a value is found out by the
publish check, and a guess from the source stands for it until then.
"""

from __future__ import annotations

import ast
import importlib.util
import re
from contextlib import suppress
from dataclasses import replace
from typing import Final

from msgspec import UNSET

from jupyter_mlsvc.capture import assigned_names
from jupyter_mlsvc.cell_analysis import CellReading, read_cell, without_assignments
from jupyter_mlsvc.planning.descriptions import estimator_of
from jupyter_mlsvc.planning.needs import names_of_code
from jupyter_mlsvc.planning.place import Place
from jupyter_mlsvc.planning.request import Parameter, Request, Source
from jupyter_mlsvc.planning.sources import Here
from jupyter_mlsvc.planning.wording import listed
from jupyter_mlsvc.wire.kinds import example_of, parameter_type
from jupyter_mlsvc.wire.models import InventoryObject
from jupyter_mlsvc.wire.suggestions import did_you_mean

GUESS: Final = "vector"
"""Type that a dialog shows where nothing tells one."""

# Code that may set and read any name; nothing is said about the names then.
STREAM: Final = "items"
"""Name of the output that is what code yields, where none is given."""

_OPAQUE: Final = re.compile(r"import \*|\b(exec|eval|globals|locals|get_ipython)\(")
_LIBRARIES: Final = frozenset({"np", "pd", "plt", "sns", "sp", "tf", "sk", "xgb", "lgb"})


class Definition:
    """What the names of a piece of code are for.

    Attributes
    ----------
    code : str
        The code that is published: that of the request without lines that set an input.
    needed : set of str
        Names that it finds elsewhere, inputs among them.
    inputs, outputs : list of Parameter
    warnings, guesses, problems : list of str
        Sentences; guesses are those about types that publishing finds out, and the service fails
        for certain where there is a problem.
    """

    def __init__(self, request: Request, here: Here, runtime: str) -> None:
        self.code = request.code
        self.needed: set[str] = set()
        self.is_readable = False
        self.warnings: list[str] = []
        self.guesses: list[str] = []
        self.problems: list[str] = []
        self.inputs: list[Parameter] = []
        self.outputs: list[Parameter] = []
        self._request = request
        self._here = here
        self._place = Place()
        self._runtime = runtime
        self._reading = CellReading()
        if runtime == "Python":
            self._read()

    def _read(self) -> None:
        with suppress(SyntaxError, ValueError):
            self._reading = read_cell(self.code)
            self.is_readable = True
        first = (self._request.setup_code, self._request.init_code)
        self.needed = names_of_code(self.code, *first, own=self._here.objects)

    @property
    def names(self) -> set[str]:
        """Names whose values tell something about the service."""
        request = self._request
        declared = {each.name for each in (*(request.inputs or ()), *(request.outputs or ()))}
        return self.needed | declared | {*request.sent, *request.fetched, *self._reading.outputs}

    def decide(self, place: Place) -> None:
        """Find inputs and outputs; what the place has of the names must be known."""
        self._place = place
        self.inputs = self._find_inputs()
        self.outputs = self._find_outputs()
        if self.is_readable:
            self._note_problems()

    # --- inputs ------------------------------------------------------------------------------

    def _find_inputs(self) -> list[Parameter]:
        request = self._request
        if request.inputs is not None:
            return [self._declared_input(each) for each in request.inputs]
        names = request.sent or sorted(filter(self._is_likely_input, self.needed))
        found = [self._input(name) for name in names]
        return found or ([] if request.outputs else self._inputs_of_literals())

    def _is_likely_input(self, name: str) -> bool:
        """Whether a name that the code reads changes from call to call, by all one can see."""
        if name in self._reading.called | self._reading.looked_up or name.isupper():
            return False
        if self._source(name) == "unknown":
            return name not in _LIBRARIES and not _is_module(name)
        return self._found(name).parameter_type is not None

    def _inputs_of_literals(self) -> list[Parameter]:
        """Take values that the cell sets by writing them down for examples of inputs."""
        skipped = self._reading.looked_up | set(self._reading.outputs)
        found = [
            Parameter(name, kind, example=example_of(value), source="cell")
            for name, value in self._reading.literals.items()
            if name not in skipped
            and not name.isupper()
            and (kind := parameter_type(value)) is not None
        ]
        if found:
            names = [each.name for each in found]
            self.code = without_assignments(self.code, names)
            self.needed |= set(names)
            self.warnings.append(
                f"The cell sets {listed(names)} itself. As an input it comes with each call, so "
                "its line was taken out of the code."
                if len(names) == 1
                else f"The cell sets {listed(names)} itself. As inputs they come with each call, "
                "so their lines were taken out of the code."
            )
        return found

    def _declared_input(self, given: Parameter) -> Parameter:
        if given.type is not None and (given.example is not None or given.default is not UNSET):
            return given
        if given.value is not UNSET:
            return given
        found = self._input(given.name, given.type, given.source)
        made = replace(
            given,
            type=found.type,
            known=found.known,
            example=found.example,
            source=found.source,
        )
        if given.default is UNSET:
            return made
        # A default tells nothing of the type where it is None, and the value here may be missing.
        return replace(made, default=given.default, known=made.known or given.default is None)

    def _input(self, name: str, kind: str | None = None, source: Source | None = None) -> Parameter:
        item = self._found(name)
        declared, kind = kind, kind or item.parameter_type
        if kind is None and estimator_of(name, self._here, self.code) is not None:
            declared = kind = "data.frame"
        if kind is None:
            self.guesses.append(
                f"The type of the input {name!r} is not known; it is declared as {GUESS}."
            )
        # An example of another type than the declared one would not be accepted.
        example = item.example if kind == item.parameter_type else None
        known = declared is not None or item.parameter_type is not None
        return Parameter(name, kind or GUESS, known, example, source or self._source(name))

    # --- outputs -----------------------------------------------------------------------------

    def _find_outputs(self) -> list[Parameter]:
        request = self._request
        names = request.fetched or self._reading.outputs
        if self._reading.yields and not request.fetched:
            names = [*names, STREAM]
        if not request.outputs and not names and not request.files:
            self._note_no_outputs()
        if request.outputs is not None:
            return [self._output(each) for each in request.outputs]
        return [self._output(Parameter(name)) for name in names]

    def _note_no_outputs(self) -> None:
        if self._runtime != "Python":
            if self._request.outputs is None:
                self.warnings.append(
                    f"Code in {self._runtime} is read by the server only: say what its inputs and "
                    "outputs are."
                )
        elif self._reading.ends_with_value:
            self.problems.append(
                "The value of the last line has no name. Assign it to a variable to make it an "
                "output."
            )
        elif self.is_readable:
            self.problems.append("The code sets no variable that could be an output.")

    def _output(self, given: Parameter) -> Parameter:
        name = given.name
        # Where the cell ran last is where its result is.
        item = self._found(name, prefer_place=self._request.is_remote)
        kind = given.type or item.parameter_type
        known = kind is not None and given.known
        if kind is None:
            kind = self._reading.types.get(name)
        if kind is None:
            self.guesses.append(
                f"The type of the output {name!r} is not known until the cell has run; publishing "
                "finds it out."
            )
        example = item.example if kind == item.parameter_type else None
        return Parameter(name, kind or GUESS, known, example)

    # --- problems ----------------------------------------------------------------------------

    def _note_problems(self) -> None:
        """Note what will fail, or does nothing, for certain."""
        request = self._request
        sources = (self.code, request.init_code, request.setup_code)
        if any(_OPAQUE.search(source) for source in sources):
            return
        inputs = {each.name for each in self.inputs}
        assigned = set().union(*map(assigned_names, sources))
        reached = self._reached_names()
        unset = [each.name for each in self.outputs if each.name not in assigned | inputs | reached]
        if len(unset) == 1 and self._reading.yields:
            unset = []  # it is what the code yields
        self.problems.extend(
            f"The code never sets the output {name!r}.{did_you_mean(name, assigned)}"
            for name in unset
        )
        read = self.needed | reached | set().union(*map(_names_read, sources))
        for each in request.inputs or ():
            if each.name in read:
                continue
            sentence = f"The code does not use the input {each.name!r}."
            meant = did_you_mean(each.name, self.needed - inputs)
            (self.problems if meant else self.warnings).append(sentence + meant)

    def _reached_names(self) -> set[str]:
        """Return the globals that the notebook's functions look up or set when the code runs."""
        here = self._here
        names = here.needs.follow(self.needed)
        return set().union(*(here.needs.of(name).names for name in names if name in here))

    # --- values ------------------------------------------------------------------------------

    def _source(self, name: str) -> Source:
        if name in self._here:
            return "notebook"
        return "session" if name in self._place.objects else "unknown"

    def _found(self, name: str, *, prefer_place: bool = False) -> InventoryObject:
        there = self._place.objects.get(name)
        if there is not None and (prefer_place or name not in self._here):
            return there
        return self._here.describe(name)


def _names_read(*sources: str) -> set[str]:
    found: set[str] = set()
    for source in sources:
        with suppress(SyntaxError, ValueError):
            found |= {
                node.id
                for node in ast.walk(ast.parse(source))
                if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Load)
            }
    return found


def _is_module(name: str) -> bool:
    try:
        return importlib.util.find_spec(name) is not None
    except (ImportError, ValueError):
        return False
