"""Values of every type, sent and received."""

from __future__ import annotations

from collections.abc import Mapping

from tests.foreign.sdk.work import Work


def every_type_by_class(work: Work) -> None:
    """Types named by their Python classes arrive as such and come back as such."""
    import numpy as np
    import pandas as pd

    types = {
        "i": int,
        "f": float,
        "s": str,
        "b": bool,
        "a": np.array,
        "v": list,
        "m": np.matrix,
        "d": pd.DataFrame,
    }
    _back_and_forth(work, types)


def every_type_by_name(work: Work) -> None:
    """Types named by words mean the same."""
    types = {
        "i": "int",
        "f": "float",
        "s": "str",
        "b": "bool",
        "a": "numpy.array",
        "v": "array",
        "m": "numpy.matrix",
        "d": "pandas.DataFrame",
    }
    _back_and_forth(work, types)


def missing_values(work: Work) -> None:
    """None goes and comes as null, whatever the type; in the code a float is NaN then."""
    types = {"i": int, "f": float, "s": str, "b": bool, "a": list, "m": "matrix", "d": "DataFrame"}
    service = work.client.deploy_service(
        work.name(),
        version="1.0",
        code_str="kinds = ' '.join(type(x).__name__ for x in (i, f, s, b, a, m, d))",
        inputs=types,
        outputs={"kinds": str} | types,
    )
    answer = service.consume(*[None] * len(types))
    assert answer.error == "", answer.error
    kinds = ["float" if kind is float else "NoneType" for kind in types.values()]
    assert answer.output("kinds") == " ".join(kinds)
    assert all(answer.output(name) is None for name in types)


def nan_in_a_column(work: Work) -> None:
    """A result of missing numbers is a column with gaps."""
    import pandas as pd

    service = work.client.deploy_service(
        work.name(),
        version="1.0",
        code_str="d['root'] = [v ** 0.5 if v >= 0 else float('nan') for v in d['x']]",
        inputs={"d": "DataFrame"},
        outputs={"d": "DataFrame"},
    )
    roots = service.consume(pd.DataFrame({"x": [4.0, -1.0]})).output("d")["root"]
    assert roots[0] == 2
    assert pd.isna(roots[1])


def _back_and_forth(work: Work, types: Mapping[str, object]) -> None:
    import numpy as np
    import pandas as pd

    service = work.client.deploy_service(
        work.name(),
        version="1.0",
        code_str="kinds = ' '.join(type(x).__name__ for x in (i, f, s, b, a, v, m, d))\n"
        "shapes = [list(a.shape), list(m.shape), list(d.shape)] == [[3], [2, 2], [2, 3]]",
        inputs=types,
        outputs={"kinds": str, "shapes": bool, **types},
    )
    frame = pd.DataFrame({"n": [1, 2], "x": [0.5, 1e300], "t": ["ä", ""]})
    sent = [
        *(2**53 - 1, 0.1, "naïve ☃\n", True),
        *(np.array([1.5, 2.5, -3.0]), np.array(["x", "y"]), np.matrix([[1, 2], [3, 4]]), frame),
    ]
    answer = service.consume(*sent)
    assert answer.error == "", answer.error
    assert answer.output("kinds") == "int float str bool ndarray ndarray ndarray DataFrame"
    assert answer.output("shapes") is True
    back = dict(zip(types, [answer.output(name) for name in types], strict=True))
    assert [back[name] for name in "ifsb"] == sent[:4], back
    assert [type(back[name]) for name in "ifsb"] == [int, float, str, bool]
    np.testing.assert_array_equal(back["a"], sent[4])
    np.testing.assert_array_equal(back["v"], sent[5])
    assert isinstance(back["m"], np.matrix)
    np.testing.assert_array_equal(back["m"], sent[6])
    pd.testing.assert_frame_equal(back["d"], frame)
