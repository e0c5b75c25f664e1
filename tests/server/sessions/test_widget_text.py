"""Texts of widgets, which follow what the kernel's comm messages say."""

from __future__ import annotations

from typing import Any

import pytest

from jupyter_mlsvc_server.sessions.widget_text import (
    MAX_CHARACTERS,
    MAX_DISPLAYS,
    MAX_MODELS,
    VIEW,
    WidgetText,
)


class Kernel:
    """Sends what a kernel with widgets sends."""

    def __init__(self) -> None:
        self.now = 100.0
        self.widgets = WidgetText(lambda: self.now)

    def make(self, name: str, number: str, **state: Any) -> str:
        state |= {"_model_name": f"{name}Model"}
        content = {"comm_id": number, "target_name": "jupyter.widget", "data": {"state": state}}
        self.widgets.on_comm("comm_open", content)
        return number

    def change(self, number: str, **state: Any) -> None:
        data = {"method": "update", "state": state, "buffer_paths": []}
        self.widgets.on_comm("comm_msg", {"comm_id": number, "data": data})

    def show(self, number: str, own: str = "HBox(children=())") -> dict[str, Any]:
        data = {"text/plain": own, VIEW: {"model_id": number}}
        kind, content = self.widgets.shown("display_data", {"data": data, "metadata": {}})
        assert kind == "display_data"
        assert VIEW not in content["data"]
        return content

    def text_of(self, number: str) -> str:
        return str(self.show(number)["data"]["text/plain"])

    def updates(self, seconds: float = 1) -> list[str]:
        self.now += seconds
        return [each["data"]["text/plain"] for each in self.widgets.updates()]


@pytest.fixture
def kernel() -> Kernel:
    return Kernel()


def refer(*numbers: str) -> list[str]:
    return [f"IPY_MODEL_{number}" for number in numbers]


def bar(kernel: Kernel, **state: Any) -> str:
    """Make a bar as tqdm has it in a notebook."""
    kernel.make("HTML", "left", value="\u2007\u20070%")
    kernel.make("FloatProgress", "bar", **{"min": 0.0, "max": 4.0, "value": 0.0} | state)
    kernel.make("HTML", "right", value="\u20070/4 [00:00&lt;?, ?it/s]")
    return kernel.make("HBox", "box", children=refer("left", "bar", "right"))


def test_bar_of_tqdm_moves_and_is_full_at_the_end(kernel: Kernel) -> None:
    shown = kernel.show(bar(kernel), own="  0%|          | 0/4 [00:00<?, ?it/s]")
    assert shown["data"] == {"text/plain": "  0%|          | 0/4 [00:00<?, ?it/s]"}
    assert shown["transient"]["display_id"]
    kernel.change("bar", value=2.0)
    kernel.change("left", value="\u200750%")
    kernel.change("right", value=" 2/4 [00:01&lt;00:01, 2.00it/s]")
    assert kernel.updates() == [" 50%|█████     | 2/4 [00:01<00:01, 2.00it/s]"]
    kernel.change("bar", value=4.0, bar_style="success")
    kernel.change("left", value="100%")
    kernel.change("right", value=" 4/4 [00:02&lt;00:00, 2.00it/s]")
    assert kernel.updates() == ["100%|██████████| 4/4 [00:02<00:00, 2.00it/s]"]
    assert kernel.updates() == []


def test_bar_without_an_end_is_its_count(kernel: Kernel) -> None:
    box = bar(kernel, max=1, value=1, bar_style="info")
    kernel.change("left", value="")
    kernel.change("right", value=" 3it [00:00, 9.00it/s]")
    assert kernel.text_of(box) == "3it [00:00, 9.00it/s]"


def test_closed_widget_goes(kernel: Kernel) -> None:
    kernel.show(bar(kernel))
    kernel.widgets.on_comm("comm_close", {"comm_id": "box", "data": {}})
    assert kernel.updates() == [""]


TEXTS: list[tuple[str, dict[str, Any], str]] = [
    ("IntProgress", {"value": 3, "max": 10}, " 30%|███       | 3/10"),
    (
        "FloatProgress",
        {"value": 0.25, "min": 0.0, "max": 0.5, "description": "Load"},
        "Load  50%|█████     | 0.25/0.5",
    ),
    ("IntProgress", {"value": 3, "min": 3, "max": 3}, "  0%|          | 3/3"),
    ("Label", {"value": "so far"}, "so far"),
    ("HTML", {"value": "<b>a &lt; b</b><br>c<style>p {}</style>"}, "a < b\nc"),
    ("HTML", {"value": "x", "description": "<i>Name</i>"}, "Name x"),
    ("IntSlider", {"value": 7, "description": "n"}, "n 7"),
    ("Checkbox", {"value": True, "description": "on"}, "on True"),
    ("Button", {"description": "Go"}, "[Go]"),
    ("Dropdown", {"_options_labels": ["a", "b"], "index": 1, "description": "is"}, "is b"),
    (
        "Output",
        {
            "outputs": [
                {"output_type": "stream", "name": "stdout", "text": "a\n"},
                {"output_type": "display_data", "data": {"text/plain": "b"}},
            ]
        },
        "a\nb",
    ),
]


@pytest.mark.parametrize(("name", "state", "text"), TEXTS)
def test_text_of_a_widget(kernel: Kernel, name: str, state: dict[str, Any], text: str) -> None:
    assert kernel.text_of(kernel.make(name, "it", **state)) == text


def test_boxes_have_the_texts_of_what_is_in_them(kernel: Kernel) -> None:
    kernel.make("Label", "a", value="one")
    kernel.make("Label", "b", value="two")
    kernel.make("IntProgress", "c", value=1, max=2)
    assert kernel.text_of(kernel.make("HBox", "row", children=refer("a", "c"))) == (
        "one|█████     |"
    )
    kernel.make("HBox", "only", children=refer("c"))
    assert kernel.text_of("only") == " 50%|█████     | 1/2"
    kernel.make("VBox", "column", children=refer("a", "row", "b"))
    assert kernel.text_of("column") == "one\none|█████     |\ntwo"
    kernel.make("Tab", "tab", children=refer("a", "b"), titles=["A", "B"])
    assert kernel.text_of("tab") == "A\none\nB\ntwo"


def test_change_of_an_inner_widget_updates_all_displays_that_show_it(kernel: Kernel) -> None:
    kernel.make("Label", "a", value="one")
    kernel.make("HBox", "row", children=refer("a"))
    kernel.make("VBox", "column", children=refer("row"))
    for number in ("a", "column", "column"):
        kernel.show(number)
    kernel.change("a", value="two")
    assert kernel.updates() == ["two", "two", "two"]


def test_widgets_that_hold_each_other_have_an_end(kernel: Kernel) -> None:
    kernel.make("VBox", "a", children=refer("b"))
    kernel.make("VBox", "b", children=refer("a"))
    assert kernel.text_of("a") == ""


def test_output_is_captured_while_an_output_widget_says_so(kernel: Kernel) -> None:
    kernel.show(kernel.make("Output", "out", msg_id="", outputs=[]))
    printed = {"name": "stdout", "text": "a\n"}
    assert not kernel.widgets.captures("request", "stream", printed)
    kernel.change("out", msg_id="request")
    assert not kernel.widgets.captures("another", "stream", printed)
    assert kernel.widgets.captures("request", "stream", printed)
    assert kernel.widgets.captures("request", "stream", {"name": "stdout", "text": "b\n"})
    assert kernel.updates() == ["a\nb"]
    assert kernel.widgets.captures("request", "clear_output", {"wait": True})
    assert kernel.updates() == []
    assert kernel.widgets.captures("request", "stream", {"name": "stdout", "text": "c"})
    assert kernel.updates() == ["c"]
    assert kernel.widgets.captures("request", "clear_output", {"wait": False})
    assert kernel.updates() == [""]
    kernel.change("out", msg_id="")
    assert not kernel.widgets.captures("request", "stream", printed)


def test_value_of_a_last_expression_is_a_display_that_can_be_updated(kernel: Kernel) -> None:
    kernel.make("Label", "a", value="one")
    content = {"data": {VIEW: {"model_id": "a"}}, "metadata": {}, "execution_count": 3}
    kind, shown = kernel.widgets.shown("execute_result", content)
    assert (kind, shown["data"]) == ("display_data", {"text/plain": "one"})
    kernel.change("a", value="two")
    assert kernel.updates() == ["two"]


def test_other_outputs_stay_as_they_are(kernel: Kernel) -> None:
    for content in ({"data": {"text/plain": "1"}}, {"name": "stdout", "text": "x"}):
        assert kernel.widgets.shown("execute_result", content) == ("execute_result", content)


def test_updates_come_together_and_not_too_often(kernel: Kernel) -> None:
    kernel.show(kernel.make("Label", "a", value="0"))
    given = 0
    for number in range(60_000):
        kernel.now += 0.01
        kernel.change("a", value=str(number))
        given += len(kernel.updates(0))
    # Ten minutes at a hundred changes a second.
    assert 300 < given < 1500
    seconds = kernel.widgets.next_due()
    assert seconds is not None
    assert kernel.updates(seconds + 0.1) == ["59999"]
    assert kernel.widgets.next_due() is None


def test_what_is_kept_is_bounded(kernel: Kernel) -> None:
    for number in range(MAX_MODELS + 10):
        kernel.make("Label", str(number), value="x" * 20)
    assert len(kernel.widgets._models) == MAX_MODELS
    last = str(MAX_MODELS)
    for _ in range(MAX_DISPLAYS + 10):
        kernel.show(last)
    assert len(kernel.widgets._displays) == MAX_DISPLAYS
    kernel.change(last, value="y" * (2 * MAX_CHARACTERS))
    assert set(kernel.updates()) == {"y" * MAX_CHARACTERS}
    kernel.make("Output", "out", msg_id="request", outputs=[])
    for _ in range(100):
        kernel.widgets.captures("request", "stream", {"name": "stdout", "text": "z" * 1000})
    assert len(kernel.text_of("out")) <= MAX_CHARACTERS


def test_styles_and_comms_of_others_are_left_alone(kernel: Kernel) -> None:
    kernel.make("Layout", "layout", width="1px")
    kernel.make("ProgressStyle", "style")
    kernel.widgets.on_comm("comm_open", {"comm_id": "x", "target_name": "mine", "data": {}})
    kernel.widgets.on_comm("comm_msg", {"comm_id": "x", "data": {"method": "update"}})
    kernel.widgets.on_comm("comm_close", {"comm_id": "x", "data": {}})
    assert not kernel.widgets._models
