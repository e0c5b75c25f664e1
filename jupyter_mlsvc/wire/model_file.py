"""A model as a file: a pickle or ONNX, as it is or in a container that begins with ``blob``.

Clients of the original refuse to deploy a realtime model whose bytes begin otherwise. A pickle
holds code: load those of trusted origin only. Nothing here loads one.

The container is ``blob``, ``mlsvc``, the version of the format in one byte, the length of a header
in four (little-endian), the header in JSON, and the model.
"""

from __future__ import annotations

import io
import os
import struct
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final, Literal

import msgspec

from jupyter_mlsvc.wire.columns import columns_of
from jupyter_mlsvc.wire.model_input import ModelInput, estimator_input, known_columns, learnt
from jupyter_mlsvc.wire.models import ColumnDefinition, ParameterDefinition
from jupyter_mlsvc.wire.onnx_file import is_onnx, onnx_input
from jupyter_mlsvc.wire.values import encode_output, input_decoder

MARK: Final = b"blob"
"""The first bytes of a model for clients of the original."""

EXPECTED: Final = (
    "a fitted model with a method 'predict', as jupyter_mlsvc.serialize_model, cloudpickle, pickle "
    "(protocol 2 or newer) or joblib write it, or an ONNX model"
)

_OURS: Final = MARK + b"mlsvc"
_FORMAT: Final = 1
_HEAD: Final = struct.Struct("<BI")
_DATA_FRAME: Final = "data.frame"
_TRIED: Final = 3
"""Rows that a model predicts, to see that it does so for what JSON makes of them."""

_MAX_HEADER_BYTES: Final = 2**24
_PICKLES: Final = tuple(bytes([0x80, protocol]) for protocol in range(2, 6))
_COMPRESSED: Final = (b"\x1f\x8b", b"\x78", b"BZh", b"\xfd7zXZ")
"""How the files begin that joblib compresses: gzip, zlib, bzip2, xz."""


class InvalidModelFile(ValueError):
    """The bytes are no model; the message says what is expected."""


class Header(msgspec.Struct, frozen=True, kw_only=True):
    """What a container tells about its model.

    Attributes
    ----------
    kind : str
        How the model is written.
    response : tuple of str
        Names of what it predicts.
    gather : bool or None
        Whether rows of several callers may be predicted in one call; None leaves that to the
        server.
    input : ModelInput
        What columns it takes; of ONNX the model itself tells.
    columns : list of ColumnDefinition
        These columns with their dtypes, where those are known.
    """

    kind: Literal["pickle", "onnx"] = "pickle"
    response: tuple[str, ...] = ()
    gather: bool | None = None
    input: ModelInput = ModelInput()
    columns: list[ColumnDefinition] = []


class ModelFile(msgspec.Struct, frozen=True):
    """A file taken apart: its header, and the model that nobody has loaded yet."""

    header: Header
    content: memoryview

    @property
    def input(self) -> ModelInput:
        """What columns the model takes, as far as that is known without loading it."""
        return onnx_input(self.content) if self.header.kind == "onnx" else self.header.input


def serialize_model(
    model: object,
    *,
    response: str | Sequence[str] = (),
    gather: bool | None = None,
    like: Any = None,
) -> bytes:
    """Write a model as bytes for a realtime service.

    Parameters
    ----------
    model : object
        A fitted one with a method ``predict``, such as an estimator of scikit-learn; or an ONNX
        model: a ``ModelProto``, its bytes, or the path of a file that ends with ``.onnx``.
    response : str or sequence of str
        What the model predicts; the service answers ``<response>_Pred``. By default ``y``.
    gather : bool, optional
        Whether the rows of several concurrent requests may be predicted in one call. By default
        that is so for models of scikit-learn, xgboost, lightgbm and catboost in which nothing of
        anybody else's takes part. True says of another model that it predicts each row without
        regard to the others; False has every request predicted on its own. ONNX models are
        gathered if they take any number of rows.
    like : pandas.DataFrame, optional
        Some rows as the model was fitted with. Its dtypes, such as categories and dates, are those
        that the model gets. By default they are what JSON gives, and the categories that the model
        keeps itself, as HistGradientBoosting and lightgbm do.

    Returns
    -------
    bytes
        They begin with ``blob``, as Microsoft's client demands.

    Raises
    ------
    TypeError
        It has no ``predict``, or cannot be pickled; or it is no ONNX model; or it takes categories
        that it does not tell.
    ValueError
        The model can't be served with such a frame; the message says why.
    OSError
        The file of an ONNX model can't be read.
    """
    names = (response,) if isinstance(response, str) else tuple(response)
    onnx = _onnx_bytes(model)
    if onnx is not None:
        if like is not None:
            raise TypeError("An ONNX model says itself what it takes; leave out 'like'.")
        return _head(Header(response=names, gather=gather, kind="onnx")) + onnx
    if isinstance(model, type) or not callable(getattr(model, "predict", None)):
        raise TypeError(
            f"A realtime service needs {EXPECTED}; this is {_article(type(model).__name__)}."
        )
    columns = known_columns(model) if like is None else _columns_like(model, like)
    import cloudpickle  # slow to load, and of use here only

    with io.BytesIO() as file:
        header = Header(
            response=names, gather=gather, input=estimator_input(model), columns=columns
        )
        file.write(_head(header))
        cloudpickle.dump(model, file, protocol=5)
        return file.getvalue()


def _columns_like(model: Any, like: Any) -> list[ColumnDefinition]:
    """Describe the columns of a frame that a model takes, once it predicts what JSON makes of them.

    Raises
    ------
    ValueError
        A column is missing or can't be had from JSON, or the model predicts something else then.
    """
    if not hasattr(like, "iloc") or not hasattr(like, "columns"):
        raise ValueError(f"'like' has to be a DataFrame of pandas, not {type(like).__name__}.")
    names = learnt(model, "feature_names_in_")
    if names is not None:
        missing = [name for name in names if name not in like.columns]
        if missing:
            raise ValueError(f"'like' lacks the column {missing[0]!r} that the model takes.")
        like = like[list(names)]
    columns = columns_of(like, strict=True)
    if not columns:
        raise ValueError("'like' has two columns of one name, or none.")
    rows = like.head(_TRIED)
    plain = encode_output(_DATA_FRAME, rows)
    read = input_decoder(ParameterDefinition(name="like", type=_DATA_FRAME, columns=columns))
    served, expected = (
        encode_output("", learnt(model, "predict")(frame)) for frame in (read(plain, "like"), rows)
    )
    if served != expected:
        raise ValueError(
            "The model predicts something else for 'like' than for the same rows when they have "
            f"been JSON: {served!r:.100} instead of {expected!r:.100}."
        )
    return columns


def _head(header: Header) -> bytes:
    text = msgspec.json.encode(header)
    return _OURS + _HEAD.pack(_FORMAT, len(text)) + text


def _onnx_bytes(model: object) -> bytes | None:
    """Give an ONNX model as bytes; None if it is no such thing."""
    if isinstance(model, bytes | bytearray | memoryview):
        data = bytes(model)
    elif isinstance(model, str | os.PathLike):
        data = Path(model).read_bytes()
    elif type(model).__name__ == "ModelProto" and hasattr(model, "SerializeToString"):
        data = bytes(model.SerializeToString())
    else:
        return None
    if not is_onnx(data):
        raise TypeError("These bytes are no ONNX model; of other models give the object itself.")
    return data


def read_model_file(data: bytes | memoryview) -> ModelFile:
    """Take a file apart without loading it.

    Raises
    ------
    InvalidModelFile
        It is neither a container nor a pickle nor ONNX.
    """
    view = memoryview(data)
    start = bytes(view[: len(_OURS) + _HEAD.size])
    if start.startswith(_OURS):
        return _read_container(view)
    if start.startswith(MARK):
        raise InvalidModelFile(
            "The model begins with 'blob' and is none of ours; models of revoscalepy and "
            f"MicrosoftML do not run here. A realtime service needs {EXPECTED}."
        )
    if start.startswith(_PICKLES + _COMPRESSED):
        return ModelFile(Header(), view)
    if is_onnx(view):
        return ModelFile(Header(kind="onnx"), view)
    raise InvalidModelFile(f"The file is no model. A realtime service needs {EXPECTED}.")


def _read_container(view: memoryview) -> ModelFile:
    try:
        version, length = _HEAD.unpack_from(view, len(_OURS))
    except struct.error as error:
        raise InvalidModelFile("The model file ends too early.") from error
    if version != _FORMAT:
        raise InvalidModelFile(
            f"The model file has format {version}, of a newer version of jupyter-mlsvc; this one "
            f"reads format {_FORMAT}."
        )
    if length > _MAX_HEADER_BYTES:
        raise InvalidModelFile("The header of the model file is too long.")
    start = len(_OURS) + _HEAD.size
    try:
        header = msgspec.json.decode(view[start : start + length], type=Header)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise InvalidModelFile("The header of the model file cannot be read.") from error
    content = view[start + length :]
    if header.kind == "onnx" and not is_onnx(content):
        raise InvalidModelFile("What the model file holds is no ONNX model, or not all of one.")
    return ModelFile(header, content)


def _article(noun: str) -> str:
    return f"{'an' if noun[:1].lower() in 'aeiou' else 'a'} {noun}"
