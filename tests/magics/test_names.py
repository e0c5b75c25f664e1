"""Names that Python takes for the same are the same to all magics."""

from __future__ import annotations

import pytest

from .conftest import Run

pytestmark = pytest.mark.kernel

MICRO = "\N{MICRO SIGN}"
SPLIT, WHOLE = "cafe\N{COMBINING ACUTE ACCENT}", "caf\N{LATIN SMALL LETTER E WITH ACUTE}"


def test_names_may_be_typed_in_any_spelling(run: Run) -> None:
    run(f"{MICRO} = 3.0\nscale = 2").result.raise_error()
    cell = f"{SPLIT} = {MICRO} * scale"
    run(f"%%publish Spelt V1.0 -i {MICRO}:numeric -o {SPLIT}:numeric\n{cell}").result.raise_error()
    assert dict(run(f"%consume Spelt V1.0 {MICRO}=4.0").value) == {WHOLE: 8.0}
    assert dict(run(f"%consume Spelt V1.0 {MICRO}={MICRO}").value) == {WHOLE: 6.0}
    run(f"%%remote_exec -i {MICRO},scale -o {SPLIT}\n{cell}").result.raise_error()
    assert run(WHOLE).value == 6.0
    run(f"%mlsvc put {MICRO}").result.raise_error()
    run(f"{MICRO} = None\n%mlsvc get {MICRO}").result.raise_error()
    assert run(MICRO).value == 3.0
    run(f"import pandas\nrows = pandas.DataFrame({{'{MICRO}': [1.0, 2.0]}})").result.raise_error()
    run(f"%batch Spelt V1.0 rows -o {SPLIT} --quiet").result.raise_error()
    assert run(f"{WHOLE}['{WHOLE}'].tolist()").value == [2.0, 4.0]
