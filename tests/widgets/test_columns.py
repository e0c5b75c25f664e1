"""Fields for the columns of a data.frame in a form of a notebook."""

from __future__ import annotations

import ipywidgets
import pytest

from jupyter_mlsvc.widgets.columns import column_fields
from jupyter_mlsvc.wire.models import ColumnDefinition, ParameterDefinition

LOANS = ParameterDefinition(
    name="applicant",
    type="data.frame",
    columns=[
        ColumnDefinition(name="age", type="number", description="Years."),
        ColumnDefinition(name="region", type="string", categories=["north", "south"]),
    ],
)


@pytest.fixture
def area() -> ipywidgets.Textarea:
    return ipywidgets.Textarea()


@pytest.fixture
def fields(area: ipywidgets.Textarea) -> ipywidgets.Widget:
    made = column_fields(LOANS, area)
    assert made is not None
    return made


def test_a_row_of_fields_is_a_table(fields: ipywidgets.Widget, area: ipywidgets.Textarea) -> None:
    age, region = fields.children
    assert (age.description, age.placeholder) == ("age", "Years.")
    age.value, region.value = "4,5", "south"
    assert area.value == 'age,region\n"4,5",south'
    age.value = region.value = ""
    assert area.value == ""


def test_a_table_of_one_row_fills_the_fields_and_several_hide_them(
    fields: ipywidgets.Widget, area: ipywidgets.Textarea
) -> None:
    age, region = fields.children
    area.value = "region,age\nsouth,40"
    assert (age.value, region.value) == ("40", "south")
    area.value = "region,age\nsouth,40\nnorth,41"
    assert (fields.layout.display, age.value) == ("none", "")
    assert area.value.endswith("north,41")
    area.value = ""
    assert fields.layout.display is None


def test_without_columns_there_are_no_fields(area: ipywidgets.Textarea) -> None:
    assert column_fields(ParameterDefinition(name="x", type="data.frame"), area) is None
    assert column_fields(ParameterDefinition(name="x", type="vector"), area) is None
