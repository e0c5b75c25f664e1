"""A form to call a service with: ``jupyter_mlsvc.form(service)``."""

from __future__ import annotations

import html
import threading
import time
from collections.abc import Generator, Mapping
from typing import Any, Final

import anywidget
import msgspec
import traitlets
from msgspec import UNSET

from jupyter_mlsvc.client.api import json_body
from jupyter_mlsvc.client.parameters import plain_values
from jupyter_mlsvc.client.results import ServiceResult
from jupyter_mlsvc.client.service import Service
from jupyter_mlsvc.magics.connection import connection_of
from jupyter_mlsvc.widgets import front_end
from jupyter_mlsvc.widgets.channel import Channel, Refused, Request, problem_of
from jupyter_mlsvc.widgets.looks import bundle
from jupyter_mlsvc.wire.models import ParameterDefinition
from jupyter_mlsvc.wire.names import find_name

_SHOWN: Final = (
    *("name", "version", "description", "inputParameterDefinitions"),
    *("outputParameterDefinitions", "outputFileNames", "examples"),
)
"""What a form knows of its service; no code, since it may be stored with the notebook."""


def form(service: Service | str, /, **values: object) -> CallForm:
    """Make a form to call a service with, for a notebook.

    Parameters
    ----------
    service : Service or str
        A version of a service, or the name of one, which is in its newest version then.
    values
        What is in the fields at first, by the names of the inputs.

    Returns
    -------
    CallForm
        Shows itself as the last value of a cell; its ``result`` is what the last call answered.

    Raises
    ------
    TypeError
        The service has no such input.
    """
    if isinstance(service, str):
        service = connection_of().client.service(service)
    return CallForm(service).fill(**values)


class CallForm(anywidget.AnyWidget):
    """A form with a field for each input of a service, and what the service answers.

    It is a widget, so it goes into boxes of ipywidgets, and its ``inputs`` can be observed.

    Parameters
    ----------
    service : Service
        What is called.

    Attributes
    ----------
    inputs : dict
        What is in the fields, by the names of the inputs, as it is sent. What is empty or can't
        be read is not in it.
    result : ServiceResult or None
        What the last call answered, wherever it was made.
    """

    _esm = front_end.script()
    _css = front_end.style()
    _kind = traitlets.Unicode("form").tag(sync=True)
    _service = traitlets.Dict().tag(sync=True)
    inputs = traitlets.Dict().tag(sync=True)

    def __init__(self, service: Service) -> None:
        row = msgspec.to_builtins(service.row)
        super().__init__(
            _service={name: row[name] for name in _SHOWN if name in row},
            inputs={item.name: False for item in service.inputs if _is_switched_off(item)},
        )
        self.result: ServiceResult | None = None
        self._called = service
        self._last = b"null"
        self._error: Exception | None = None
        self._thread: threading.Thread | None = None
        self._channel = Channel(self.send, self._answer)
        self.on_msg(lambda _, content, buffers: self._channel.receive(content, buffers))

    def fill(self, /, **values: Any) -> CallForm:
        """Put values into the fields, by the names of the inputs; lists, arrays and frames too.

        Raises
        ------
        TypeError
            The service has no such input.
        """
        known = [item.name for item in self._called.inputs]
        filled = dict(self.inputs)
        for given, value in plain_values(values).items():
            name = find_name(given, known)
            if name is None:
                raise TypeError(f"{self._called.name} has no input {given!r}.")
            filled[name] = value
        self.inputs = filled
        return self

    # --- calling -----------------------------------------------------------------------------

    def run(self) -> None:
        """Call the service with what is in the fields, without waiting for the answer."""
        if self._thread is None or not self._thread.is_alive():
            body = json_body(self.inputs)
            self._thread = threading.Thread(
                target=self._run, args=(body,), name="mlsvc-call", daemon=True
            )
            self._thread.start()

    def wait(self, timeout: float | None = None) -> ServiceResult | None:
        """Wait for the answer to the last ``run()``.

        Raises
        ------
        MlsvcError
            The call was refused, or nobody answered.
        """
        if self._thread is not None:
            self._thread.join(timeout)
        if self._error is not None:
            raise self._error
        return self.result

    def _run(self, body: bytes) -> None:
        self._error = None
        try:
            self._call(body, "")
        except Exception as error:  # noqa: BLE001  # raised where it is waited for
            self._error = error

    def _answer(self, request: Request) -> bytes | Generator[bytes]:
        """Answer the front end: it may call this service, and ask what the last call gave."""
        if request.fits("GET", "last"):
            return self._last
        if request.fits("POST", "api", self._called.name, self._called.version):
            by = request.id
            return self._stream(request.body, by) if request.lines else self._call(request.body, by)
        raise Refused(request)

    def _call(self, body: bytes, by: str) -> bytes:
        started = time.monotonic()
        try:
            content, self.result = self._called.call_json(body)
        except Exception as error:
            self._keep(started, by, problem_of(error))
            raise
        self._keep(started, by, {"result": msgspec.Raw(content)})
        return content

    def _stream(self, body: bytes, by: str) -> Generator[bytes]:
        """Call the service; give the parts of its answer as they come."""
        started = time.monotonic()
        try:
            with self._called.stream_json(body) as items:
                yield from items.parts()
        except Exception as error:
            self._keep(started, by, problem_of(error))
            raise
        self.result = items.result
        self._keep(started, by, {"result": items.answer})

    def _keep(self, started: float, by: str, outcome: Mapping[str, Any]) -> None:
        """Keep an outcome for pages that are loaded later, and tell those that are open."""
        milliseconds = (time.monotonic() - started) * 1000
        self._last = msgspec.json.encode({"milliseconds": milliseconds, **outcome})
        self.send({"called": by})

    # --- life and looks ----------------------------------------------------------------------

    def close(self) -> None:
        """Take the form off the page and free it; may be called twice."""
        self._channel.close()
        self.layout.close()
        super().close()

    def __repr__(self) -> str:
        service = self._called
        inputs = ", ".join(f"{item.name}: {item.type}" for item in service.inputs)
        return (
            f"<Form of service {service.name} {service.version}({inputs}); where it is "
            "not shown, call the service: service(input=value)>"
        )

    def _repr_mimebundle_(self, **_: object) -> tuple[dict[str, Any], dict[str, Any]]:
        fallback = f"<p>{html.escape(repr(self)[1:-1])}</p>"
        return bundle(lambda: self.model_id, repr(self), fallback), {}


def _is_switched_off(item: ParameterDefinition) -> bool:
    """Whether an input is a switch, which can't be empty, and is off at first."""
    return item.type == "logical" and item.default is UNSET
