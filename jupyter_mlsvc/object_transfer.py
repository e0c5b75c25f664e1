"""Objects that travel between this kernel and a session, with errors that name them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from jupyter_mlsvc.client.session import Session
from jupyter_mlsvc.display import TransferBar
from jupyter_mlsvc.errors import MlsvcError, NotFound
from jupyter_mlsvc.wire.inventory import type_name


@dataclass(frozen=True, slots=True)
class Moved:
    """An object that went one way or the other, and the bytes it took."""

    name: str
    type: str
    size: int


class NotSendable(MlsvcError):
    """An object of the notebook that can't be pickled."""


def send(session: Session, name: str, value: object, namespace: dict[str, Any]) -> Moved:
    """Set a variable of a session.

    Raises
    ------
    NotSendable
        It can't be pickled.
    MlsvcError
        The session can't build it.
    """
    try:
        with TransferBar(name) as bar:
            size = session.put_object(name, value, namespace, bar)
    except MlsvcError:
        raise
    except Exception as error:  # noqa: BLE001
        # Whatever the object's own pickling raises.
        kind = type(value).__qualname__
        raise NotSendable(
            f"{name!r} ({kind}) can't be sent to the server: {type(error).__name__}: {error}"
        ) from None
    return Moved(name, type_name(value), size)


def fetch(
    session: Session, name: str, namespace: dict[str, Any], missing: str
) -> tuple[Any, Moved]:
    """Read a variable of a session.

    Parameters
    ----------
    missing
        What to say where there is none of that name.

    Raises
    ------
    MlsvcError
        There is none, or it can't be built here.
    """
    try:
        with TransferBar(name) as bar:
            value = session.get_object(name, namespace, bar)
    except NotFound:
        if name in session.list_objects():
            raise
        raise MlsvcError(missing) from None
    except MlsvcError:
        raise
    except Exception as error:  # noqa: BLE001
        # Whatever building the object here raises, such as a module that is missing.
        raise MlsvcError(
            f"{name!r} came back, but can't be built here: {type(error).__name__}: {error}"
        ) from None
    return value, Moved(name, type_name(value), bar.done)
