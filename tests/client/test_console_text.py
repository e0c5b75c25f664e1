"""A failed service shows its own lines and the last one."""

from __future__ import annotations

from jupyter_mlsvc.console_text import MAX_LINES, folded, folded_html
from jupyter_mlsvc.errors import ServiceFailed

PIPELINE = """\
scoring
Traceback (most recent call last):
  File "<Loans/V1.0>", line 1, in <module>
    risk = pipe.predict(applicant)
           ^^^^^^^^^^^^^^^^^^^^^^^
  File "/opt/lib/sklearn/pipeline.py", line 600, in predict
    Xt = transform.transform(Xt)
         ^^^^^^^^^^^^^^^^^^^^^^^
  File "/opt/lib/sklearn/compose.py", line 1000, in transform
    raise ValueError(
  File "<Loans/V1.0>", line 7, in column
    raise ValueError("columns are missing: {'income'}")
  File "/opt/lib/last.py", line 1, in check
ValueError: columns are missing: {'income'}
"""
SHOWN = """\
scoring
Traceback (most recent call last):
  File "<Loans/V1.0>", line 1, in <module>
    risk = pipe.predict(applicant)
           ^^^^^^^^^^^^^^^^^^^^^^^
  [… 2 frames of libraries]
  File "<Loans/V1.0>", line 7, in column
    raise ValueError("columns are missing: {'income'}")
  [… 1 frame of libraries]
ValueError: columns are missing: {'income'}"""


def test_frames_of_libraries_are_left_out() -> None:
    assert folded(PIPELINE) == SHOWN


def test_what_is_long_loses_its_middle() -> None:
    text = "\n".join(f"line {number}" for number in range(1000))
    shown = folded(text).splitlines()
    assert len(shown) == MAX_LINES + 1
    assert (shown[0], shown[20], shown[-1]) == ("line 0", "[… 960 lines]", "line 999")


def test_what_is_short_is_shown_as_it_is() -> None:
    assert folded("    a table\n  of its own\n") == "    a table\n  of its own"
    assert "<details>" not in folded_html("short")


def test_a_failed_service_keeps_all_of_it() -> None:
    error = ServiceFailed("Loans V1.0", "ValueError: columns are missing: {'income'}", PIPELINE)
    shown = "\n".join(error._render_traceback_())
    assert SHOWN in shown
    assert "pipeline.py" not in shown
    assert "console_output" in shown
    assert error.console_output == PIPELINE
    html = error._repr_html_()
    assert html.index("<details>") < html.index("pipeline.py")
    assert "&lt;Loans/V1.0&gt;" in html
