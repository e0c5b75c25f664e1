"""Says at once of a list or an array that it is no data frame.

scikit-learn (1.9 and later) asks narwhals about each input, three times a call, whether it is a
data frame or a series of any library. Narwhals looks through all that it knows and all plugins,
which takes 13 µs each time: with a small model half of the call. For an object that is exactly a
list, a tuple or a numpy array nothing but the type decides, and these types can't be changed, so
the answer is known beforehand. About anything else, subclasses included, narwhals is asked as
before.
"""

from __future__ import annotations

import functools
import importlib.metadata
import sys
import types
from collections.abc import Callable
from typing import Any, Final

import wrapt

_USER: Final = "sklearn.utils.validation"
_ASKED: Final = "narwhals.stable.v2.dependencies"
_QUESTIONS: Final = ("is_into_dataframe", "is_into_series")
_PLUGINS: Final = "narwhals.plugins"


def install() -> None:
    """Answer for lists and arrays from now on, once scikit-learn is there; twice is harmless."""
    if _USER in sys.modules:
        _patch(sys.modules[_USER])
    else:
        wrapt.register_post_import_hook(_patch, _USER)


def _patch(_validation: types.ModuleType) -> None:
    """Put quick answers before narwhals' own, if this scikit-learn asks it at all."""
    asked = sys.modules.get(_ASKED)
    # A plugin might take arrays for a frame of its library.
    if asked is None or importlib.metadata.entry_points(group=_PLUGINS):
        return
    for name in _QUESTIONS:
        ask = getattr(asked, name, None)
        if ask is not None and not hasattr(ask, "__wrapped__"):
            setattr(asked, name, _quick(ask))


def _quick(ask: Callable[..., bool]) -> Callable[..., bool]:
    array = sys.modules["numpy"].ndarray

    @functools.wraps(ask)
    def quick(*args: Any, **named: Any) -> bool:
        if len(args) == 1:
            kind = type(args[0])
            if kind is array or kind is list or kind is tuple:
                return False
        return ask(*args, **named)

    return quick
