"""Why a database can't be opened."""

from __future__ import annotations


class UnusableDatabase(RuntimeError):
    """The database can't be opened; the message is a sentence for who starts the server."""

    def __init__(self, where: object, cause: object) -> None:
        super().__init__(f"The database {where} cannot be used: {cause}.")


class UnknownSchema(UnusableDatabase):
    """The database was written by a newer version of the server."""

    def __init__(self, where: object) -> None:
        super().__init__(
            where,
            "it belongs to a newer version of jupyter-mlsvc; install that version, or point "
            "MLSVC_DATA_DIR at another folder",
        )
