"""``jupyter_mlsvc.publish``: publish a function, a model or code by one call."""

from __future__ import annotations

import sys
import types
from collections.abc import Iterable, Mapping
from contextlib import AbstractContextManager, nullcontext
from typing import Any

from IPython.core.getipython import get_ipython

from jupyter_mlsvc.client.client import Client
from jupyter_mlsvc.client.service import Service
from jupyter_mlsvc.client.session import Session
from jupyter_mlsvc.errors import InvalidInput
from jupyter_mlsvc.magics.connection import connection_of
from jupyter_mlsvc.planning.cell_code import python_of
from jupyter_mlsvc.planning.models import is_fitted_model
from jupyter_mlsvc.planning.parameters import Declared, parameters
from jupyter_mlsvc.planning.place import Notebook
from jupyter_mlsvc.planning.planner import Planner
from jupyter_mlsvc.planning.request import Example, Request
from jupyter_mlsvc.wire.models import Isolation


def publish(  # noqa: PLR0913 - what a service is made of
    what: object,
    name: str | None = None,
    version: str | None = None,
    *,
    inputs: Declared | None = None,
    outputs: Declared | None = None,
    description: str | None = None,
    alias: str | None = None,
    init_code: str = "",
    setup_code: str = "",
    isolation: Isolation | None = None,
    effects: bool = False,
    network: bool = True,
    read_only: bool = False,
    keep_bodies: bool = False,
    concurrency: int | None = None,
    deadline_seconds: float | None = None,
    output_files: Iterable[str] = (),
    response: str | Iterable[str] = (),
    session: str | None = None,
    snapshot: str | None = None,
    as_in_session: bool = False,
    check: bool = True,
    force: bool = False,
    replace: bool = False,
    group: str | None = None,
    tags: Iterable[str] | None = None,
    descriptions: Mapping[str, str] | None = None,
    example: Example | None = None,
    ranges: bool = False,
    client: Client | None = None,
    namespace: dict[str, Any] | None = None,
) -> Service:
    """Publish a function, a fitted model, or code, as ``%publish`` does.

    Objects that it needs are those of the notebook or program, as they are now.

    Parameters
    ----------
    what : function, model or str
        Of a function the inputs are its parameters and the description is its docstring. A fitted
        model becomes a realtime service. A text is code.
    name : str, optional
        That of the function where it is left out.
    version : str, optional
        The one after the newest where it is left out.
    inputs, outputs : mapping or sequence, optional
        Names and types: ``{"flower": "vector"}`` or ``["flower:vector"]``; types may be left out.
        Found out where they are left out; empty for none. A value in place of a type, such as
        ``{"applicant": loans.head(3)}``, is an example that callers are shown.
    description, alias, init_code, setup_code, isolation, effects, output_files
        As for ``client.services.publish``.
    network, read_only, keep_bodies, concurrency, deadline_seconds
        As for ``client.services.publish``.
    response : str or sequence of str
        What a model predicts, by default ``y``.
    session, snapshot : str, optional
        Where names come from that are not here, by name or id.
    as_in_session : bool
        Keep the objects of the session where those here differ.
    check : bool
        Whether the server calls the service once before it takes it.
    force : bool
        Publish although the service will fail when it is called.
    replace : bool
        Take the place of a version that has never answered rightly.
    group : str, optional
        One of your groups, whose members may change all versions of the name as well.
    tags : sequence of str, optional
        Words to find the service by.
    descriptions : mapping, optional
        Sentences by the names of inputs, outputs and columns.
    example : str, optional
        What callers are shown: ``data``, the first rows of what the inputs have here, with
        categories and the answer; or ``synthetic``, made-up values of the same types.
    ranges : bool
        Refuse numbers that are out of the range of those that the inputs have here.
    client : Client, optional
        That of the magics in a notebook, else one made from the environment.
    namespace : dict, optional
        The globals of the code; those of the notebook, of the function, or of the caller.

    Returns
    -------
    Service
        Call it as a function.

    Raises
    ------
    NotPublishable
        The service would fail when it is called.
    MlsvcError
        The server refused.

    Examples
    --------
    >>> def score(income: float, age: int = 40) -> float:
    ...     return model.predict([[income, age]])[0]
    >>> jupyter_mlsvc.publish(score)(income=2500).answer
    0.82
    """
    if namespace is None and get_ipython() is None:
        namespace = (
            what.__globals__ if isinstance(what, types.FunctionType) else sys._getframe(1).f_globals  # noqa: SLF001 - the caller's, as in pandas.eval
        )
    notebook, names = _notebook(client, namespace), dict[str, object]()
    request = Request(
        name=name or "",
        version=version,
        inputs=None if inputs is None else parameters(inputs),
        outputs=None if outputs is None else parameters(outputs),
        description=description,
        alias=alias,
        init_code=init_code,
        setup_code=setup_code,
        isolation=isolation,
        effects=effects,
        network=network,
        read_only=read_only,
        keep_bodies=keep_bodies,
        concurrency=concurrency,
        deadline_seconds=deadline_seconds,
        files=list(output_files),
        response=[response] if isinstance(response, str) else list(response),
        session=session,
        snapshot=snapshot,
        as_in_session=as_in_session,
        check=check,
        force=force,
        replace=replace,
        group=group,
        tags=None if tags is None else list(tags),
        descriptions=dict(descriptions or {}),
        example=example,
        ranges=ranges,
    )
    if isinstance(what, str):
        found = python_of(what)
        request.code, request.warnings = found.code, found.notes
    elif is_fitted_model(what):
        request.model = what
    elif callable(what):
        request.function = _name_of(what, notebook.own_objects())
        names[request.function] = what
    else:
        raise InvalidInput(
            f"A service is made of a function, a fitted model or code, not of "
            f"{type(what).__name__}."
        )
    if not request.name:
        if request.function is None:
            raise InvalidInput("The service needs a name: publish(what, 'NAME').")
        request.name = request.function
    tell = print if get_ipython() is not None else _say_nothing
    return Planner(_With(notebook, names), tell).publish(request).service


def _say_nothing(_: str) -> None:
    """Take a sentence that nobody reads: the service has what the check found."""


def _name_of(function: Any, objects: Mapping[str, object]) -> str:
    """Return the name that a function has here."""
    own = getattr(function, "__name__", "")
    if objects.get(own) is function:
        return str(own)
    found = [name for name, value in objects.items() if value is function]
    if found:
        return found[0]
    if not own.isidentifier():
        raise InvalidInput("The function has no name here: assign it to a variable first.")
    return str(own)


def _notebook(client: Client | None, namespace: dict[str, Any] | None) -> Notebook:
    if client is None and namespace is None:
        return connection_of()
    if namespace is None:
        namespace = connection_of().namespace
    return _Program(Client() if client is None else client, namespace)


class _Program:
    """A program in place of a notebook: it has no current session and shows nothing."""

    def __init__(self, client: Client, namespace: dict[str, Any]) -> None:
        self.client = client
        self.namespace = namespace

    def own_objects(self) -> dict[str, Any]:
        """Return all of the program's names."""
        return {
            name: value
            for name, value in list(self.namespace.items())
            if not (name.startswith("__") and name.endswith("__"))
        }

    def existing(self) -> Session | None:
        """Return no session."""
        return None

    def switch(self, name: str) -> Session:
        """Find a session."""
        return self.client.sessions.get(name)

    def explaining_lost_session(self, _: Session) -> AbstractContextManager[None]:
        """Add nothing to the server's own words."""
        return nullcontext()

    def waiting(self, _: str, *, quiet: bool = False) -> AbstractContextManager[object]:
        """Show nothing."""
        del quiet
        return nullcontext()


class _With:
    """A notebook with a few names more, or other objects for them."""

    def __init__(self, notebook: Notebook, names: Mapping[str, object]) -> None:
        self._notebook = notebook
        self._names = names

    def __getattr__(self, name: str) -> Any:
        return getattr(self._notebook, name)

    def own_objects(self) -> dict[str, Any]:
        """Return the notebook's objects with those that were added."""
        return {**self._notebook.own_objects(), **self._names}
