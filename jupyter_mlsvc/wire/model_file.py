"""A model as a file: a pickled estimator, plain or in a container that begins with ``blob``.

Clients of the original refuse to deploy a realtime model whose bytes begin otherwise. Such a file
holds code: load those of trusted origin only. Nothing here loads one.

The container is ``blob``, ``mlsvc``, the version of the format in one byte, the length of a header
in four (little-endian), the header in JSON, and a pickle.
"""

from __future__ import annotations

import io
import struct
from collections.abc import Sequence
from typing import Final

import msgspec

MARK: Final = b"blob"
"""The first bytes of a model for clients of the original."""

EXPECTED: Final = (
    "a fitted model with a method 'predict', as jupyter_mlsvc.serialize_model, cloudpickle, pickle "
    "(protocol 2 or newer) or joblib write it"
)

_OURS: Final = MARK + b"mlsvc"
_FORMAT: Final = 1
_HEAD: Final = struct.Struct("<BI")
_PICKLES: Final = tuple(bytes([0x80, protocol]) for protocol in range(2, 6))
_COMPRESSED: Final = (b"\x1f\x8b", b"\x78", b"BZh", b"\xfd7zXZ")
"""How the files begin that joblib compresses: gzip, zlib, bzip2, xz."""


class InvalidModelFile(ValueError):
    """The bytes are no model; the message says what is expected."""


class Header(msgspec.Struct, frozen=True, kw_only=True):
    """What a container tells about its model.

    ``response`` names what it predicts; ``gather`` tells whether rows of several callers may be
    predicted in one call, None leaves that to the server.
    """

    response: tuple[str, ...] = ()
    gather: bool | None = None


class ModelFile(msgspec.Struct, frozen=True):
    """A file taken apart: its header, and the pickle that nobody has loaded yet."""

    header: Header
    pickle: memoryview


def serialize_model(
    model: object, *, response: str | Sequence[str] = (), gather: bool | None = None
) -> bytes:
    """Write a fitted model as bytes for a realtime service.

    Parameters
    ----------
    model : object
        Has a method ``predict``, such as an estimator of scikit-learn.
    response : str or sequence of str
        What the model predicts; the service answers ``<response>_Pred``. By default ``y``.
    gather : bool, optional
        Whether the rows of several concurrent requests may be predicted in one call. By default
        that is so for models of scikit-learn, xgboost, lightgbm and catboost in which nothing of
        anybody else's takes part. True says of another model that it predicts each row without
        regard to the others; False has every request predicted on its own.

    Returns
    -------
    bytes
        They begin with ``blob``, as Microsoft's client demands.

    Raises
    ------
    TypeError
        It has no ``predict``, or cannot be pickled.
    """
    if isinstance(model, type) or not callable(getattr(model, "predict", None)):
        raise TypeError(
            f"A realtime service needs {EXPECTED}; this is {_article(type(model).__name__)}."
        )
    import cloudpickle  # slow to load, and of use here only

    names = (response,) if isinstance(response, str) else tuple(response)
    header = msgspec.json.encode(Header(response=names, gather=gather))
    with io.BytesIO() as file:
        file.write(_OURS + _HEAD.pack(_FORMAT, len(header)) + header)
        cloudpickle.dump(model, file, protocol=5)
        return file.getvalue()


def read_model_file(data: bytes | memoryview) -> ModelFile:
    """Take a file apart without loading it.

    Raises
    ------
    InvalidModelFile
        It is neither a container nor a pickle.
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
    if not start.startswith(_PICKLES + _COMPRESSED):
        raise InvalidModelFile(f"The file is no model. A realtime service needs {EXPECTED}.")
    return ModelFile(Header(), view)


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
    start = len(_OURS) + _HEAD.size
    try:
        header = msgspec.json.decode(view[start : start + length], type=Header)
    except msgspec.DecodeError as error:
        raise InvalidModelFile("The header of the model file cannot be read.") from error
    return ModelFile(header, view[start + length :])


def _article(noun: str) -> str:
    return f"{'an' if noun[:1].lower() in 'aeiou' else 'a'} {noun}"
