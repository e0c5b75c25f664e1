"""PostgreSQL, which several servers may share: its URLs, its engine, and locks of its servers."""

from __future__ import annotations

from enum import IntEnum
from typing import Any, Final

import sqlalchemy as sa

from jupyter_mlsvc_server.storage.errors import UnusableDatabase

_CONNECT_SECONDS: Final = 10
_BACKENDS: Final = {"sqlite", "postgresql"}
_DRIVER: Final = "postgresql+psycopg"
_DRIVERS_OF_LIBPQ: Final = {"psycopg", "psycopg2"}


class Lock(IntEnum):
    """What servers of one database do one after the other. PostgreSQL's locks are numbers."""

    MIGRATION = 0x6D6C737663
    INSTALLATION = 0x6D6C737664
    SIGNING_KEYS = 0x6D6C737665


def parse_url(text: str) -> sa.URL:
    """Return the URL of a database, with the driver that the server brings for PostgreSQL.

    Raises
    ------
    UnusableDatabase
        It is no URL, or that of a database which the server does not know.
    """
    try:
        url = sa.make_url(text)
    except (sa.exc.ArgumentError, ValueError):
        # The text may have a password in it.
        raise UnusableDatabase(
            "of Database.url",
            "that is no URL; write it as postgresql://USER:PASSWORD@HOST/DATABASE",
        ) from None
    if url.drivername in {"postgres", "postgresql"}:
        url = url.set(drivername=_DRIVER)
    if url.get_backend_name() not in _BACKENDS:
        raise UnusableDatabase(
            shown(url), "the server knows SQLite and PostgreSQL only; see Database.url"
        )
    return url


def shown(url: sa.URL) -> str:
    """Return where a database is, without its password."""
    if url.get_backend_name() == "sqlite":
        return str(url.database)
    return url.render_as_string(hide_password=True)


def make_engine(url: sa.URL, connections: int) -> sa.Engine:
    """Make the engine of a PostgreSQL database.

    Raises
    ------
    UnusableDatabase
        Its driver is not installed.
    """
    options: dict[str, Any] = {}
    if url.get_driver_name() in _DRIVERS_OF_LIBPQ:
        # Without an encoding of the client, texts of some databases come as bytes.
        options = {"connect_timeout": _CONNECT_SECONDS, "client_encoding": "utf8"}
    try:
        engine = sa.create_engine(
            url, pool_pre_ping=True, pool_size=connections, connect_args=options
        )
    except (ImportError, sa.exc.NoSuchModuleError) as error:
        raise UnusableDatabase(
            shown(url),
            f"its driver {url.get_driver_name()} is not installed. Run pip install "
            "'jupyter-mlsvc[server,postgres]', and let the URL begin with postgresql://",
        ) from error
    sa.event.listen(engine, "begin", _begin)
    return engine


def require_unicode(connection: sa.Connection, url: sa.URL) -> None:
    """Refuse a database that can't keep all texts.

    Raises
    ------
    UnusableDatabase
        Its encoding is not UTF-8.
    """
    encoding = connection.scalar(sa.text("SHOW server_encoding"))
    if encoding != "UTF8":
        raise UnusableDatabase(
            shown(url),
            f"its encoding is {encoding}, which does not keep all texts. Make one with "
            "createdb --encoding=UTF8 --template=template0",
        )


def reason(error: Exception) -> str:
    """Return why a database could not be opened, as its driver says it, in one line."""
    lines = str(getattr(error, "orig", None) or error).strip().splitlines()
    return lines[0].rstrip(".") if lines else type(error).__name__


def take_lock(connection: sa.Connection, lock: Lock) -> None:
    """Wait until no other server has a lock; the transaction has it to its end.

    On SQLite the transaction is the only one that changes anything anyway.
    """
    if connection.dialect.name == "postgresql":
        connection.execute(sa.select(sa.func.pg_advisory_xact_lock(int(lock))))


def take_lock_of(connection: sa.Connection, thing: str) -> None:
    """Wait until no other transaction has the lock of a thing, such as what a person may have.

    It is for what is counted before it is added to: elsewhere than on SQLite others add meanwhile.
    """
    if connection.dialect.name == "postgresql":
        number = sa.func.hashtextextended(thing, 0)
        connection.execute(sa.select(sa.func.pg_advisory_xact_lock(number)))


def _begin(connection: sa.Connection) -> None:
    seconds = connection.get_execution_options().get("mlsvc_wait_seconds")
    if seconds is not None:
        # To PostgreSQL, 0 is no limit.
        limit = max(int(seconds * 1000), 1)
        connection.exec_driver_sql(f"SET LOCAL lock_timeout = {limit}")
