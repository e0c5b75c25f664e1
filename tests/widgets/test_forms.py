"""A form to call a service with: what is in its fields, and what it shows of the answer."""

from __future__ import annotations

import threading
from collections.abc import Iterator, Mapping
from typing import Any

import ipywidgets
import msgspec
import numpy
import pandas
import pytest

from jupyter_mlsvc.client.results import ServiceResult
from jupyter_mlsvc.client.service import Service
from jupyter_mlsvc.client.services import Services
from jupyter_mlsvc.errors import BadRequest, ConnectionFailed
from jupyter_mlsvc.widgets.forms import CallForm, InvalidFields
from jupyter_mlsvc.wire.models import ParameterDefinition, WebService, WebServiceResult
from jupyter_mlsvc.wire.names import ServiceName, Version
from jupyter_mlsvc.wire.values import input_decoder
from jupyter_mlsvc_server.formats.protocol import Service as ServedService
from jupyter_mlsvc_server.formats.service_spec import ServiceSpec
from jupyter_mlsvc_server.worker.codec import ServiceCodec
from jupyter_mlsvc_server.worker.invalid_input import InvalidInput

TYPES = {
    "flag": "logical",
    "rate": "numeric",
    "row": "vector",
    "table": "data.frame",
}


class Answers:
    """Stands for the service; remembers what it was called with."""

    def __init__(self) -> None:
        self.called: list[Mapping[str, Any]] = []
        self.error: Exception | None = None
        self.raised = ""
        self.outputs: dict[str, Any] = {"y": [1.5]}
        self.may_answer = threading.Event()
        self.may_answer.set()

    def __call__(self, inputs: Mapping[str, Any]) -> ServiceResult:
        self.called.append(inputs)
        assert self.may_answer.wait(60)
        if self.error is not None:
            raise self.error
        answer = WebServiceResult(
            success=not self.raised,
            error_message=self.raised,
            output_parameters={} if self.raised else self.outputs,
            output_files={},
            console_output="printed before\n" if self.raised else "",
            changed_files=[],
        )
        return ServiceResult("Iris V1.0", answer)


@pytest.fixture
def answers() -> Answers:
    return Answers()


def service(**types: str) -> Service:
    row = WebService(
        name="Iris",
        version="V1.0",
        version_published_by="maria",
        creation_time="2024-05-01T10:00:00",
        snapshot_id=None,
        runtime_type="Python",
        description="Tells <irises>",
        operation_id=None,
        input_parameter_definitions=[
            ParameterDefinition(name=name, type=kind) for name, kind in types.items()
        ],
        output_parameter_definitions=[ParameterDefinition(name="y", type="vector")],
        output_file_names=[],
        my_permission_on_service="read/write",
    )
    nowhere: Any = None
    return Service(Services(nowhere), row)


@pytest.fixture
def form(answers: Answers) -> Iterator[CallForm]:
    form = CallForm(service(**TYPES), answers)
    yield form
    form.close()


def filled(form: CallForm) -> CallForm:
    return form.fill(flag=True, rate=2.5, row=numpy.arange(2), table=pandas.DataFrame({"a": [1]}))


def run(form: CallForm) -> str:
    form.run()
    form.wait(60)
    return shown(form.widget)


def shown(widget: ipywidgets.Widget) -> str:
    """All text of a widget that is there to be read."""
    own = widget.value if isinstance(widget, ipywidgets.HTML) else ""
    return own + "".join(shown(child) for child in getattr(widget, "children", ()))


def test_each_type_has_its_kind_of_field(form: CallForm) -> None:
    assert {name: type(field).__name__ for name, field in form.fields.items()} == {
        "flag": "Checkbox",
        "rate": "Text",
        "row": "Text",
        "table": "Textarea",
    }


def test_python_values_fill_the_fields(form: CallForm) -> None:
    filled(form)
    assert form.fields["row"].value == "0, 1"
    assert form.fields["table"].value == "a\n1"
    assert form.inputs == {"flag": True, "rate": 2.5, "row": [0, 1], "table": {"a": [1]}}


def test_an_unknown_input_cannot_be_filled(form: CallForm) -> None:
    with pytest.raises(TypeError, match="Iris has no input 'weight'"):
        form.fill(weight=1)


def test_the_service_is_called_with_what_is_in_the_fields(form: CallForm, answers: Answers) -> None:
    text = run(filled(form))
    assert answers.called == [{"flag": True, "rate": 2.5, "row": [0, 1], "table": {"a": [1]}}]
    assert "<code>1.5</code>" in text
    assert "Answered in" in text
    assert form.result is not None
    assert form.result.y == [1.5]


def test_unreadable_input_shows_beside_its_field_and_calls_nothing(
    form: CallForm, answers: Answers
) -> None:
    filled(form)
    form.fields["rate"].value = "much"
    form.fields["table"].value = "a,b\n1"
    text = run(form)
    assert "&#x27;much&#x27; is no number." in text
    assert "Line 2 has 1 values" in text
    assert answers.called == []
    with pytest.raises(InvalidFields) as caught:
        _ = form.inputs
    assert set(caught.value.problems) == {"rate", "table"}
    form.fields["rate"].value, form.fields["table"].value = "1", "a\n1"
    assert 'role="alert"' not in run(form)


def refusal(body: bytes, **types: str) -> BadRequest:
    """What the server says of a request that does not fit inputs of these types."""
    inputs = tuple(ParameterDefinition(name=name, type=kind) for name, kind in types.items())
    served = ServedService(
        spec=ServiceSpec(
            name=ServiceName("Iris"), version=Version("V1.0"), revision_id="r1", inputs=inputs
        ),
        manifest=None,
        blobs=None,
        work="",
        memory_limit=0,
        console_limit=0,
    )
    with pytest.raises(InvalidInput) as caught:
        ServiceCodec(served, input_decoder).inputs(body)
    return BadRequest(str(caught.value), status=400, inputs=caught.value.inputs)


def test_refusal_that_names_inputs_shows_beside_them(form: CallForm, answers: Answers) -> None:
    answers.error = refusal(b'{"row": [1, [2]]}', row="vector", rate="numeric")
    run(filled(form))
    problems = form._built.problems
    assert "Input row[1] must be a number" in problems["row"].value
    assert "is missing." in problems["rate"].value
    assert problems["table"].value == ""
    assert "Mend what is marked" in form._built.status.value


def test_refusal_that_says_more_shows_whole(form: CallForm, answers: Answers) -> None:
    answers.error = refusal(b'{"old": 1}', row="vector")
    run(filled(form))
    assert "There is no input" in form._built.status.value
    assert form._built.problems["row"].value == ""


@pytest.mark.parametrize(
    ("error", "text"),
    [
        (ConnectionFailed("http://x:1", "connection refused"), "cannot be reached"),
        (BadRequest("rated badly", status=400), "rated badly"),
        (RuntimeError("lost"), "RuntimeError: lost"),
    ],
)
def test_another_failure_is_one_line(
    form: CallForm, answers: Answers, error: Exception, text: str
) -> None:
    answers.error = error
    run(filled(form))
    assert text in form._built.status.value
    assert form._built.button.disabled is False


def test_raising_code_shows_its_console_output(form: CallForm, answers: Answers) -> None:
    answers.raised = "ValueError: bad flower"
    text = run(filled(form))
    assert "The service failed after" in text
    assert "ValueError: bad flower" in text
    assert "printed before" in text


def test_it_is_not_called_twice_at_a_time(form: CallForm, answers: Answers) -> None:
    answers.may_answer.clear()
    filled(form).run()
    form.run()
    assert form._built.button.disabled is True
    answers.may_answer.set()
    form.wait(60)
    assert len(answers.called) == 1
    assert form._built.button.disabled is False


def test_what_was_typed_is_remembered_where_it_is_wanted(answers: Answers) -> None:
    texts: dict[str, str] = {}
    first = CallForm(service(**TYPES), answers, texts)
    first.fields["row"].value = "7, 3.2"
    first.fields["flag"].value = True
    first.close()
    second = CallForm(service(**TYPES), answers, texts)
    assert second.fields["row"].value == "7, 3.2"
    assert second.fields["flag"].value is True
    second.close()


def test_a_service_without_inputs_has_a_form(answers: Answers) -> None:
    form = CallForm(service(), answers)
    assert "no inputs" in run(form)
    assert answers.called == [{}]
    form.close()


def test_a_form_is_readable_where_widgets_are_not(form: CallForm) -> None:
    assert repr(form) == (
        "<Form of service Iris V1.0(flag: logical, rate: numeric, row: vector, "
        "table: data.frame); where it is not shown, call the service: service(input=value)>"
    )
    assert set(form._repr_mimebundle_()) == {"text/plain", "text/html"}


def test_nothing_of_the_service_becomes_markup(form: CallForm) -> None:
    assert "Tells &lt;irises&gt;" in shown(form.widget)


def test_closing_frees_all_widgets(form: CallForm) -> None:
    from ipywidgets.widgets.widget import _instances

    before = len(_instances)
    _ = form.widget
    assert len(_instances) > before
    form.close()
    form.close()
    assert len(_instances) == before


def test_a_field_that_is_left_empty_is_left_out_where_the_input_has_a_default(
    answers: Answers,
) -> None:
    own = service(rate="numeric", flag="logical", row="vector")
    own.inputs = [
        own.inputs[0],
        msgspec.structs.replace(own.inputs[1], default=True),
        msgspec.structs.replace(own.inputs[2], default=[1, 2]),
    ]
    form = CallForm(own, answers)
    form.fields["rate"].value = "1"
    assert form.fields["row"].placeholder == "1, 2, where it is left out"
    assert form.inputs == {"rate": 1, "flag": True}
    form.fields["row"].value, form.fields["flag"].value = "3", False
    assert form.inputs == {"rate": 1, "flag": False, "row": [3]}
    form.close()
