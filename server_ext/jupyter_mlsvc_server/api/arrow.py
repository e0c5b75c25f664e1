"""Calls whose bodies or answers are streams of Arrow: what their headers say."""

from __future__ import annotations

from typing import Final

from starlette.datastructures import Headers

from jupyter_mlsvc.wire.arrow_stream import BEGINNING, MEDIA_TYPE, is_installed
from jupyter_mlsvc_server.api.accept import qualities
from jupyter_mlsvc_server.errors import NotAcceptable, UnsupportedMediaType
from jupyter_mlsvc_server.formats.envelope import Form
from jupyter_mlsvc_server.formats.pieces import Body, beginning

_JSON: Final = "application/json"
_OTHERS: Final = frozenset({_JSON, "application/*", "*/*"})
_ADVICE: Final = "Ask whoever runs the server to install jupyter-mlsvc[arrow], or"


def form_of(headers: Headers) -> Form:
    """Return how a call differs from one in JSON.

    Raises
    ------
    UnsupportedMediaType, NotAcceptable
        There is no pyarrow here.
    """
    form = Form.ARROW_IN if is_arrow(headers) else Form(0)
    accepted = qualities(",".join(headers.getlist("accept")))
    wanted = accepted.get(MEDIA_TYPE, 0.0)
    if wanted and wanted >= accepted.get(_JSON, 0.0):
        if is_installed():
            form |= Form.ARROW_OUT
        elif not any(accepted.get(other) for other in _OTHERS):
            raise NotAcceptable(
                f"This server does not write {MEDIA_TYPE}. {_ADVICE} accept {_JSON}."
            )
    return form


def is_arrow(headers: Headers) -> bool:
    """Return whether a body is a stream of Arrow.

    Raises
    ------
    UnsupportedMediaType
        It is, and there is no pyarrow here.
    """
    if headers.get("content-type", "").partition(";")[0].strip().lower() != MEDIA_TYPE:
        return False
    if not is_installed():
        raise UnsupportedMediaType(f"This server does not read {MEDIA_TYPE}. {_ADVICE} send JSON.")
    return True


def media_type_of(body: Body) -> str:
    """Return what the answer of a worker is."""
    return MEDIA_TYPE if beginning(body, len(BEGINNING)) == BEGINNING else _JSON
