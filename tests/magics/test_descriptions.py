"""What is found out about inputs, and what callers are shown of them."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
import pytest
from IPython.core.error import UsageError
from IPython.core.interactiveshell import InteractiveShell
from msgspec import UNSET
from sklearn.compose import ColumnTransformer
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import OneHotEncoder, StandardScaler

from jupyter_mlsvc.errors import InvalidInput
from jupyter_mlsvc.magics.connection import MlsvcConnection
from jupyter_mlsvc.magics.options import LineParser
from jupyter_mlsvc.magics.publish import PublishMagics, request_of
from jupyter_mlsvc.planning.descriptions import (
    declared_columns,
    declared_items,
    described,
    evaluated,
)
from jupyter_mlsvc.planning.parameters import parameters
from jupyter_mlsvc.planning.request import Parameter, Request
from jupyter_mlsvc.planning.sources import Here
from jupyter_mlsvc.publishing import suggest
from jupyter_mlsvc.wire.columns import columns_of
from jupyter_mlsvc.wire.made_up import made_up
from jupyter_mlsvc.wire.models import ColumnDefinition, ItemsDefinition, ParameterDefinition
from jupyter_mlsvc.wire.values import input_decoder

from .conftest import Run

LOANS = pd.DataFrame(
    {
        "age": [40, 31, 57],
        "income": [2500.0, None, 1800.5],
        "region": ["nord", None, "süd"],
        "since": pd.to_datetime(["2020-01-31", "NaT", "2021-02-28"]),
        "size": pd.Categorical(["S", "L", "S"]),
    }
)


def here_with(**objects: Any) -> Here:
    return Here(objects, dict(objects))


def columns(here: Here, code: str = "", **options: Any) -> dict[str, ColumnDefinition]:
    options = {"shows_values": False, "ranges": False} | options
    found = declared_columns(Parameter("df", "data.frame"), here, code, **options)
    return {each.name: each for each in found or ()}


def test_columns_are_found_out_and_no_value_of_them() -> None:
    found = columns(here_with(df=LOANS))
    assert found["age"] == ColumnDefinition(name="age", type="number")
    assert found["income"] == ColumnDefinition(name="income", type="float64", nullable=True)
    assert found["region"].nullable is True
    assert found["since"].type.startswith("datetime64")
    assert found["size"].hide_categories
    shown = columns(here_with(df=LOANS), shows_values=True, ranges=True)
    assert not shown["size"].hide_categories
    assert (shown["age"].minimum, shown["age"].maximum) == (31, 57)
    assert (shown["income"].minimum, shown["income"].maximum) == (1800.5, 2500.0)


def test_without_a_value_the_estimator_tells_the_columns() -> None:
    frame = LOANS.dropna()
    scaled = ColumnTransformer([("n", StandardScaler(), ["age"]), ("t", OneHotEncoder(), ["size"])])
    pipe = make_pipeline(scaled, LogisticRegression()).fit(frame[["age", "size"]], [0, 1])
    code = "risk = pipe.predict_proba(df)[:, 1]"
    assert columns(here_with(pipe=pipe), code) == {
        "age": ColumnDefinition(name="age", type="number"),
        "size": ColumnDefinition(name="size"),
    }
    for other in ("risk = pipe.predict(other)", "df = more(df); risk = pipe.predict(df)"):
        assert not columns(here_with(pipe=pipe), other)
    assert not columns(here_with(pipe=LogisticRegression()), code)


def test_the_type_of_an_input_without_a_value_is_that_of_its_estimator(
    bare_shell: InteractiveShell, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MLSVC_URL", "http://127.0.0.1:9")
    monkeypatch.setenv("MLSVC_TOKEN", "token")
    model = LogisticRegression().fit(LOANS[["age"]], [0, 1, 0])
    bare_shell.user_ns["model"] = model
    (row,) = suggest("%%publish Loans -i applicant\nrisk = model.predict(applicant)")["inputs"]
    assert (row["type"], row["known"]) == ("data.frame", True)
    assert row["columns"] == [{"name": "age", "type": "number"}]


@pytest.mark.parametrize(
    ("value", "word"),
    [
        (np.array([1, 2]), "number"),
        ([1.5, 2], "number"),
        (["a", "b"], "string"),
        (pd.Series([True, False]), "boolean"),
        (np.array([[1.0]]), "number"),
        (["a", 1, None], ""),
        ([], ""),
    ],
)
def test_elements_are_found_out(value: Any, word: str) -> None:
    kind = "matrix" if getattr(value, "ndim", 1) == 2 else "vector"
    found = declared_items(Parameter("x", kind), here_with(x=value))
    assert found == (ItemsDefinition(type=word) if word else UNSET)


def publish(line: str) -> Request:
    parsed = LineParser(PublishMagics.publish.parser, "FORM", words=2).parse(line)
    return request_of(parsed, parsed.code)


def test_a_line_gives_examples_descriptions_and_tags() -> None:
    request = publish(
        "Loans V1 -i applicant:data.frame=df[['age', 'size']][df.age > 3].head(2), scale=1 "
        """--describe age="Years, in full" --describe applicant.size='A "size"' """
        "--tag credit,risk --example synthetic --ranges y = 1"
    )
    first, second = request.inputs or []
    assert (first.name, first.type) == ("applicant", "data.frame")
    assert first.expression == "df[['age', 'size']][df.age > 3].head(2)"
    assert (second.name, second.type, second.expression) == ("scale", None, "1")
    assert request.descriptions == {"age": "Years, in full", "applicant.size": 'A "size"'}
    assert (request.tags, request.example) == (["credit", "risk"], "synthetic")
    assert request.ranges
    assert request.code == "y = 1"
    quoted = publish("""A -i "x = [1, 2], y" --inputs=z=f("a b") q = 1""")
    assert [each.expression for each in quoted.inputs or []] == ["[1, 2]", "", 'f("a b")']
    with pytest.raises(UsageError, match="describes nothing"):
        publish("A --describe age")


def test_an_expression_is_what_the_notebook_makes_of_it() -> None:
    request = publish("A -i df=LOANS.head(2),n:numeric=1+1 y = 1")
    frame, number = evaluated(request, {"LOANS": LOANS}).inputs or []
    assert frame.type == "data.frame"
    assert isinstance(frame.value, pd.DataFrame)
    assert len(frame.value) == 2
    assert (number.type, number.value, number.is_shown) == ("numeric", 2, True)
    for line, words in {
        "A -i x=nothing y = 1": "The example of 'x', nothing, raises NameError",
        "A -i x=object() y = 1": "is a object, which is none of the types",
    }.items():
        with pytest.raises(InvalidInput, match=words):
            evaluated(publish(line), {})


def test_a_value_stands_for_its_type() -> None:
    first, second = parameters({"df": LOANS, "n": int})
    assert (first.type, first.is_shown) == ("data.frame", True)
    assert (second.type, second.is_shown) == ("integer", False)


def test_descriptions_go_to_inputs_outputs_and_columns() -> None:
    frame = ParameterDefinition(name="df", type="data.frame", columns=columns_of(LOANS))
    output = ParameterDefinition(name="risk", type="vector")
    texts = {"df": "Loans.", "age": "Years.", "df.size": "A size.", "risk": "0 to 1."}
    (made,), (told,) = described([frame], [output], texts)
    assert (made.description, told.description) == ("Loans.", "0 to 1.")
    said = {each.name: each.description for each in made.columns or ()}
    assert (said["age"], said["size"], said["income"]) == ("Years.", "A size.", "")
    with pytest.raises(InvalidInput, match=r"column 'incom' to describe\. Did you mean 'income'"):
        described([frame], [output], {"incom": "x"})


@pytest.mark.parametrize(
    "definition",
    [
        ParameterDefinition(name="x", type="data.frame", columns=columns_of(LOANS)),
        ParameterDefinition(
            name="x",
            type="data.frame",
            columns=[
                ColumnDefinition(name="a", type="number", minimum=10, maximum=12),
                ColumnDefinition(name="b", type="Int8", maximum=-5),
                ColumnDefinition(name="c", type="datetime64[us, UTC]"),
                ColumnDefinition(name="d", type="timedelta64[ns]"),
                ColumnDefinition(name="e", type="period[D]"),
                ColumnDefinition(name="f", type="boolean"),
                ColumnDefinition(name="g", type="category", categories=["x"], hide_categories=True),
            ],
        ),
        ParameterDefinition(
            name="x", type="vector", shape=[4], items=ItemsDefinition(type="string")
        ),
        ParameterDefinition(
            name="x", type="matrix", shape=[None, 2], items=ItemsDefinition(minimum=3)
        ),
        *(
            ParameterDefinition(name="x", type=kind)
            for kind in ("logical", "integer", "numeric", "character", "vector", "json")
        ),
    ],
    ids=lambda each: each.type,
)
def test_made_up_values_fit(definition: ParameterDefinition) -> None:
    input_decoder(definition)(made_up(definition), "x")


@pytest.mark.kernel
def test_callers_see_what_its_author_shows(
    on_server: InteractiveShell, connection: MlsvcConnection, run: Run
) -> None:
    on_server.user_ns["loans"] = LOANS
    code = "\nrisk = loans['age'] / 100 + (loans['size'] == 'L')"
    first = '%%publish Risk -i loans -o risk --describe age="Years" --tag credit'
    text = run(f"{first}{code}").stdout
    assert "Of the categories of loans.size callers are shown none." in text
    quiet = connection.client.service("Risk")
    (definition,) = quiet.inputs
    assert definition.example is UNSET
    assert (quiet.examples, quiet.tags) == ([], ["credit"])
    assert "age (number): Years" in (quiet.__doc__ or "")

    run(f"%%publish Risk -i loans=loans.head(1) -o risk{code}")
    (example,) = connection.client.service("Risk").examples
    assert example.inputs["loans"]["age"] == [40]
    assert example.outputs == {"risk": [0.4]}

    run(f"%%publish Risk -i loans -o risk --example synthetic{code}")
    made = connection.client.service("Risk")
    assert made.examples == []
    shown: Any = made.inputs[0].example
    assert shown["size"] == [None, None]
    assert made(shown).success

    run("%mlsvc update Risk V1.0 --describe loans='Asked for' --tag old")
    changed = connection.client.service("Risk", "V1.0")
    assert (changed.inputs[0].description, changed.tags) == ("Asked for", ["old"])
    assert changed.inputs[0].columns == definition.columns
