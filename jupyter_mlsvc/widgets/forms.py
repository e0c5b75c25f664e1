"""A form to call a service with: ``jupyter_mlsvc.form(service)``."""

from __future__ import annotations

import html
import threading
import time
from collections.abc import Callable, Mapping, MutableMapping
from dataclasses import dataclass
from typing import Any, Final

import ipywidgets
from msgspec import UNSET

from jupyter_mlsvc.client.periodic import Ticker
from jupyter_mlsvc.client.results import ServiceResult
from jupyter_mlsvc.client.service import Service
from jupyter_mlsvc.console_text import folded_html
from jupyter_mlsvc.errors import BadRequest, MlsvcError
from jupyter_mlsvc.widgets.columns import column_fields
from jupyter_mlsvc.widgets.fields import html_outputs, kind_of, read_field, write_field
from jupyter_mlsvc.widgets.looks import block, bundle, close_all, line
from jupyter_mlsvc.wire.harmless import harmless
from jupyter_mlsvc.wire.models import ParameterDefinition
from jupyter_mlsvc.wire.names import find_name

Call = Callable[[Mapping[str, Any]], ServiceResult]

_EM_A_LETTER: Final = 0.5
_WIDEST_LABEL: Final = 20


class InvalidFields(ValueError):
    """Fields that can't be read.

    Attributes
    ----------
    problems : dict
        What is wrong, by the name of the input.
    """

    def __init__(self, problems: dict[str, str]) -> None:
        super().__init__("; ".join(f"{name}: {text}" for name, text in problems.items()))
        self.problems = problems


def form(service: Service, /, **values: object) -> CallForm:
    """Make a form to call a service with, for a notebook.

    Parameters
    ----------
    service : Service
        A version of a service.
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
    return CallForm(service, service.call).fill(**values)


class CallForm:
    """A form with a field for each input of a service, and what the service answers.

    Parameters
    ----------
    service : Service
        What is called.
    call : callable
        Calls it with inputs by name; runs in a thread of its own.
    texts : dict, optional
        What the fields have in them, by the names of the inputs; kept up to date.
    has_title : bool
        Whether name and version of the service stand above the fields.

    Attributes
    ----------
    result : ServiceResult or None
        What the last call answered.
    """

    def __init__(
        self,
        service: Service,
        call: Call,
        texts: MutableMapping[str, str] | None = None,
        *,
        has_title: bool = True,
    ) -> None:
        self.result: ServiceResult | None = None
        self._service = service
        self._call = call
        self._texts = {} if texts is None else texts
        self._has_title = has_title
        self._widgets: _FormWidgets | None = None
        self._thread: threading.Thread | None = None

    # --- what is in it -----------------------------------------------------------------------

    @property
    def widget(self) -> ipywidgets.Widget:
        """The form as a widget; built when it is first asked for."""
        return self._built.root

    @property
    def fields(self) -> dict[str, ipywidgets.Widget]:
        """The fields by the names of the inputs."""
        return self._built.fields

    @property
    def inputs(self) -> dict[str, Any]:
        """What is in the fields, as it is sent.

        Raises
        ------
        InvalidFields
            Something in a field does not fit its type.
        """
        values: dict[str, Any] = {}
        problems: dict[str, str] = {}
        for item in self._service.inputs:
            field = self.fields[item.name]
            if item.default is not UNSET and not str(field.value).strip():
                continue  # the service has a value for it
            try:
                values[item.name] = (
                    field.value
                    if isinstance(field, ipywidgets.Checkbox)
                    else read_field(item, field.value)
                )
            except ValueError as error:
                problems[item.name] = str(error)
        if problems:
            raise InvalidFields(problems)
        return values

    def fill(self, /, **values: Any) -> CallForm:
        """Put values into the fields, by the names of the inputs; lists, arrays and frames too.

        Raises
        ------
        TypeError
            The service has no such input.
        """
        from jupyter_mlsvc.client.parameters import plain_values

        for given, value in plain_values(values).items():
            name = find_name(given, self.fields)
            if name is None:
                raise TypeError(f"{self._service.name} has no input {given!r}.")
            kind = next(item.type for item in self._service.inputs if item.name == name)
            field = self.fields[name]
            is_switch = isinstance(field, ipywidgets.Checkbox)
            field.value = bool(value) if is_switch else write_field(kind, value)
        return self

    # --- calling -----------------------------------------------------------------------------

    def run(self) -> None:
        """Call the service with what is in the fields, without waiting for the answer."""
        built = self._built
        if self._thread is not None and self._thread.is_alive():
            return
        built.show_problems({})
        built.output.value = ""
        try:
            values = self.inputs
        except InvalidFields as error:
            built.show_problems(error.problems)
            built.status.value = line("Mend what is marked and run it again.", is_error=True)
            return
        built.button.disabled = True
        built.status.value = line("Running…")
        self._thread = threading.Thread(
            target=self._run, args=(values,), name="mlsvc-call", daemon=True
        )
        self._thread.start()

    def wait(self, timeout: float | None = None) -> ServiceResult | None:
        """Wait for the answer to the last call."""
        if self._thread is not None:
            self._thread.join(timeout)
        return self.result

    def _run(self, values: Mapping[str, Any]) -> None:
        built = self._built
        started = time.monotonic()
        clock = Ticker(
            lambda seconds: setattr(built.status, "value", line(f"Running for {seconds:.0f} s…"))
        )
        try:
            with clock:
                result = self._call(values)
        except MlsvcError as error:
            self._show_error(error)
        except Exception as error:  # noqa: BLE001  # nobody else would see it
            built.status.value = line(f"{type(error).__name__}: {error}", is_error=True)
        else:
            self._show_result(result, time.monotonic() - started)
        finally:
            built.button.disabled = False

    def _show_result(self, result: ServiceResult, seconds: float) -> None:
        built = self._built
        self.result = result
        took = f"{seconds * 1000:.0f} ms" if seconds < 1 else f"{seconds:.1f} s"
        if result.success:
            built.status.value = line(f"Answered in {took}.")
            built.output.value = block(html_outputs(self._service.outputs, result))
            return
        built.status.value = line(
            f"The service failed after {took}: {result.error_message}", is_error=True
        )
        console = result.console_output.strip()
        if console and console != result.error_message.strip():
            built.output.value = block(folded_html(console))

    def _show_error(self, error: MlsvcError) -> None:
        built = self._built
        problems = _problems_of(error, self._service.inputs)
        if not problems:
            built.status.value = line(error.in_notebook(), is_error=True)
            return
        built.show_problems(problems)
        built.status.value = line("Mend what is marked and run it again.", is_error=True)

    # --- looks -------------------------------------------------------------------------------

    @property
    def _built(self) -> _FormWidgets:
        if self._widgets is None:
            self._widgets = _FormWidgets.build(self._service, self._texts, self.run)
            if not self._has_title:
                self._widgets.title.layout.display = "none"
        return self._widgets

    def close(self) -> None:
        """Take the form off the page and free it; may be called twice."""
        if self._widgets is not None:
            close_all(self._widgets.root)

    def __repr__(self) -> str:
        inputs = ", ".join(f"{item.name}: {item.type}" for item in self._service.inputs)
        return (
            f"<Form of service {self._service.name} {self._service.version}({inputs}); where it is "
            "not shown, call the service: service(input=value)>"
        )

    def _repr_mimebundle_(self, **_: object) -> Mapping[str, Any]:
        fallback = f"<p>{html.escape(repr(self)[1:-1])}</p>"
        return bundle(lambda: self.widget, repr(self), fallback)


@dataclass(slots=True)
class _FormWidgets:
    """The widgets of a form."""

    root: ipywidgets.VBox
    title: ipywidgets.HTML
    fields: dict[str, ipywidgets.Widget]
    problems: dict[str, ipywidgets.HTML]
    button: ipywidgets.Button
    status: ipywidgets.HTML
    output: ipywidgets.HTML

    @classmethod
    def build(
        cls, service: Service, texts: MutableMapping[str, str], run: Callable[[], None]
    ) -> _FormWidgets:
        longest = max((len(_label(item)) for item in service.inputs), default=0)
        width = f"{min(longest * _EM_A_LETTER + 1, _WIDEST_LABEL):.0f}em"
        fields = {item.name: _field(item, texts, width) for item in service.inputs}
        problems = {item.name: ipywidgets.HTML() for item in service.inputs}
        button = ipywidgets.Button(
            description="Run", button_style="primary", icon="play", tooltip="Call the service"
        )
        button.on_click(lambda _button: run())

        def on_message(_field: ipywidgets.Widget, content: Mapping[str, Any], _: object) -> None:
            if content.get("event") == "submit":  # the key Enter
                run()

        for field in fields.values():
            if isinstance(field, ipywidgets.Text):
                field.on_msg(on_message)
        status, output = ipywidgets.HTML(), ipywidgets.HTML()
        rows: list[ipywidgets.Widget] = []
        for item in service.inputs:
            by_column = column_fields(item, fields[item.name])
            said = (
                [ipywidgets.HTML(line(harmless(item.description), role="note"))]
                if item.description
                else []
            )
            rows += [*said, fields[item.name], *([by_column] if by_column else [])]
            rows.append(problems[item.name])
        if not rows:
            rows.append(ipywidgets.HTML("This service has no inputs."))
        title = ipywidgets.HTML(
            f"<b>{html.escape(service.name)} {html.escape(service.version)}</b> "
            f"{html.escape(service.description)}"
        )
        root = ipywidgets.VBox([title, *rows, ipywidgets.HBox([button, status]), output])
        return cls(root, title, fields, problems, button, status, output)

    def show_problems(self, problems: Mapping[str, str]) -> None:
        """Show what is wrong beside the fields that it is about."""
        for name, widget in self.problems.items():
            widget.value = line(problems.get(name, ""), is_error=True)


def _label(item: ParameterDefinition) -> str:
    return f"{item.name} ({item.type})"


def _field(
    item: ParameterDefinition, texts: MutableMapping[str, str], label_width: str
) -> ipywidgets.Widget:
    text = texts.get(item.name, "")
    tooltip = f"{item.name}: {item.type}"
    if item.type == "logical":
        switch = ipywidgets.Checkbox(
            value=(text == "true" if text else item.default is True),
            description=item.name,
            indent=False,
            tooltip=tooltip,
        )
        switch.observe(
            lambda change: texts.update({item.name: "true" if change["new"] else "false"}), "value"
        )
        return switch
    kind = kind_of(item.type)
    make = ipywidgets.Textarea if kind.is_table else ipywidgets.Text
    field = make(
        value=text,
        description=_label(item),
        placeholder=(
            kind.hint
            if item.default is UNSET
            else f"{write_field(item.type, item.default) or 'null'}, where it is left out"
        ),
        tooltip=tooltip,
        layout=ipywidgets.Layout(width="auto"),
        style={"description_width": label_width},
    )
    if kind.is_table:
        # A pasted table travels once, and not with every key press after that.
        field.continuous_update, field.rows = False, 4
    field.observe(lambda change: texts.update({item.name: change["new"]}), "value")
    return field


def _problems_of(error: MlsvcError, inputs: list[ParameterDefinition]) -> dict[str, str]:
    """Return what a refusal says of inputs; nothing where the form lacks one of them."""
    if not isinstance(error, BadRequest):
        return {}
    known = {item.name for item in inputs}
    return error.inputs if error.inputs.keys() <= known else {}
