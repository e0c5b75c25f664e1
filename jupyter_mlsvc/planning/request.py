"""What somebody wants to publish, before it is known what that needs."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import Any, Literal

from msgspec import UNSET, UnsetType

from jupyter_mlsvc.wire.models import ColumnDefinition, Isolation
from jupyter_mlsvc.wire.names import python_name

Source = Literal["cell", "session", "notebook", "unknown"]

Example = Literal["data", "synthetic"]
"""What callers are shown: the values that inputs have here, or made-up ones of the same types."""


@dataclass(frozen=True, slots=True)
class Parameter:
    """An input or output.

    Attributes
    ----------
    name : str
    type : str or None
        None where nobody said and nothing tells it yet.
    known : bool
        Whether the type is more than a guess.
    example : object
        A JSON value that the service can be called with; None where there is none.
    source : str
        Where a value of the name was found.
    default : object
        JSON value of an input that may be left out; ``UNSET`` where it may not.
    expression : str
        Python that gives the value to show to callers; empty for none.
    value : object
        What that gave, or what somebody gave in its place; ``UNSET`` without one.
    is_shown : bool
        Whether callers may see the value that the input has here.
    description : str
        What is said of it.
    columns : list of ColumnDefinition
        Those of a frame, as somebody confirmed them; ``UNSET`` where they are found out.
    shown : object
        JSON value that callers are shown, as somebody confirmed it; ``UNSET`` without one.
    """

    name: str
    type: str | None = None
    known: bool = True
    example: Any = None
    source: Source = "cell"
    default: Any | UnsetType = UNSET
    expression: str = ""
    value: Any | UnsetType = UNSET
    is_shown: bool = False
    description: str = ""
    columns: list[ColumnDefinition] | UnsetType = UNSET
    shown: Any | UnsetType = UNSET


@dataclass(slots=True)
class Request:
    """A service to publish.

    Attributes
    ----------
    version : str or None
        The next one where it is left out.
    function : str or None
        Name of a function to publish in place of code.
    model, model_name : object
        A fitted model to publish in place of code, or the path of an ONNX file; and what it is
        called in the notebook.
    response : list of str
        What the model predicts.
    inputs, outputs : list of Parameter or None
        None where they are to be found out; an empty list for none.
    sent, fetched : list of str
        Names that the cell sends to a session and brings back: better guesses than any other.
    is_remote : bool
        Whether the cell runs in a session, so that its results are there.
    runtime : str or None
        Language; that of the session or snapshot where it is left out.
    session, snapshot : str or None
        By name or id.
    without_session : bool
        Do not take the current session for one that is not named.
    as_in_session : bool or set of str
        Names whose values the session keeps though the notebook has others; true: all.
    send : list of str or None
        The names to send, by somebody who compared; None compares.
    check : bool
        Whether the server calls the service once before it takes it.
    force : bool
        Publish although something will fail.
    replace : bool
        Take the place of a version that has never answered rightly.
    tags : list of str or None
        Words to find the service by.
    descriptions : dict
        Sentences by the names of inputs, outputs and columns.
    example : str or None
        What callers are shown besides values that are given for it.
    ranges : bool
        Whether numbers have to be in the range of those that the inputs have here.
    warnings : list of str
        What there is to know about the code by now.
    is_expanded : bool
        Whether the code is what a function or a model made of it.
    """

    name: str = ""
    version: str | None = None
    code: str = ""
    function: str | None = None
    model: object | None = None
    model_name: str | None = None
    response: list[str] = field(default_factory=list)
    init_code: str = ""
    setup_code: str = ""
    inputs: list[Parameter] | None = None
    outputs: list[Parameter] | None = None
    description: str | None = None
    alias: str | None = None
    files: list[str] = field(default_factory=list)
    sent: list[str] = field(default_factory=list)
    fetched: list[str] = field(default_factory=list)
    is_remote: bool = False
    runtime: str | None = None
    isolation: Isolation | None = None
    effects: bool = False
    network: bool = True
    read_only: bool = False
    keep_bodies: bool = False
    concurrency: int | None = None
    deadline_seconds: float | None = None
    session: str | None = None
    snapshot: str | None = None
    without_session: bool = False
    as_in_session: bool | frozenset[str] = False
    send: list[str] | None = None
    check: bool = True
    force: bool = False
    replace: bool = False
    group: str | None = None
    tags: list[str] | None = None
    descriptions: dict[str, str] = field(default_factory=dict)
    example: Example | None = None
    ranges: bool = False
    warnings: list[str] = field(default_factory=list)
    is_expanded: bool = False

    def as_python_has_names(self) -> Request:
        """Return the same request with names in the spelling of Python, which the code has."""
        return replace(
            self,
            inputs=_named(self.inputs),
            outputs=_named(self.outputs),
            sent=[python_name(name) for name in self.sent],
            fetched=[python_name(name) for name in self.fetched],
        )

    def keeps(self, name: str) -> bool:
        """Whether a name stays as it is in the session."""
        if self.send is not None:
            return name not in self.send
        return self.as_in_session is True or (
            isinstance(self.as_in_session, frozenset) and name in self.as_in_session
        )


def _named(parameters: list[Parameter] | None) -> list[Parameter] | None:
    if parameters is None:
        return None
    return [replace(each, name=python_name(each.name)) for each in parameters]
