"""``%mlsvc key``: keys with which applications call services."""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING, Final

from IPython.core.error import UsageError

from jupyter_mlsvc.magics.command import Command
from jupyter_mlsvc.magics.connection import MlsvcConnection
from jupyter_mlsvc.magics.options import csv_files

if TYPE_CHECKING:
    from jupyter_mlsvc.client.formatting import Listing
    from jupyter_mlsvc.client.keys import NewServiceKey, ServiceKey

_FORM: Final = (
    "key create [NAME] (--services NAME[/VERSION],… | --all) [--days N] [--note TEXT] "
    "[--rate N/second] [--origins https://HOST,…] | list | revoke NAME"
)
_OPTIONS: Final = ("services", "all", "days", "note", "rate", "origins")


def _key(
    connection: MlsvcConnection, arguments: argparse.Namespace
) -> NewServiceKey | Listing[ServiceKey] | None:
    keys = connection.client.keys
    given = [f"--{each}" for each in _OPTIONS if getattr(arguments, each)]
    if given and arguments.words[:1] != ["create"]:
        raise UsageError(f"{given[0]} goes with %mlsvc key create.")
    match arguments.words:
        case ["create", *names] if len(names) < 2:
            if bool(arguments.services) == arguments.all:
                raise UsageError(
                    "Say what the key is for: --services NAME or NAME/VERSION, or --all for all "
                    "services, which owners of the server may."
                )
            return keys.create(
                arguments.services,
                names[0] if names else None,
                days=arguments.days,
                note=arguments.note,
                rate=arguments.rate,
                origins=arguments.origins or (),
            )
        case [] | ["list"]:
            return keys.list()
        case ["revoke", name]:
            keys.revoke(name)
            print(f"Revoked service key {name!r}: its next call is refused.")
            return None
        case _:
            raise UsageError(f"That is no form of it.\nUse: %mlsvc {_FORM}")


KEY_COMMAND: Final = Command(
    _FORM,
    "keys for those who call your services: make one, list them, or end one",
    _key,
    (
        (("words",), {"nargs": "*", "default": []}),
        (("--services",), {"type": csv_files}),
        (("--all",), {"action": "store_true"}),
        (("--days",), {"type": float}),
        (("--note",), {}),
        (("--rate",), {}),
        (("--origins",), {"type": csv_files}),
    ),
)
