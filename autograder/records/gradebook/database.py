"""Where a gradebook lies: made, opened, refused in sentences that never tell its password.

nbgrader's API commits after every step. Here its session joins a transaction that is opened around all steps, so its
commits become savepoints and a kill at any moment leaves the old contents or the new ones.
"""

from __future__ import annotations

import sqlite3
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from typing import Any
from urllib.parse import quote, quote_plus

from autograder.course.settings import SQLITE
from autograder.errors import UserError

WAIT_SECONDS = 30.0  # for another program that holds the database


def opened(url: str) -> Any:
    """nbgrader's API on a gradebook, whose tables are made if there are none.

    Args:
        url: of the database, as SQLAlchemy takes it.

    Raises:
        UserError: it cannot be opened, is no gradebook, or stays locked.
    """
    from nbgrader.api import Gradebook
    from sqlalchemy import event

    with sentences(url):
        if url.startswith(SQLITE):
            _create_sqlite(Path(url.removeprefix(SQLITE)))
        if not url.startswith("sqlite"):
            _create_on_server(url)
            api = Gradebook(url)
        else:
            api = Gradebook(f"{url}{'&' if '?' in url else '?'}timeout={WAIT_SECONDS}")
            api.engine.dispose()
            event.listen(api.engine, "connect", _configure)
            event.listen(api.engine, "begin", _begin)
        _refuse_another_version(api, url)
    return api


@contextmanager
def transaction(api: Any, url: str) -> Iterator[None]:
    """nbgrader's API inside one transaction: its commits are savepoints until the end of the block."""
    with sentences(url), api.engine.connect() as connection, connection.begin():
        api.db.remove()
        api.db.configure(bind=connection, join_transaction_mode="create_savepoint")
        try:
            yield
            api.db.flush()
            api.db.commit()
        finally:
            api.db.remove()


@contextmanager
def sentences(url: str) -> Iterator[None]:
    """Turn what a database says into a UserError."""
    from sqlalchemy.exc import SQLAlchemyError

    place = shown_url(url)
    try:
        yield
    except ModuleNotFoundError as error:
        raise UserError(
            f"The gradebook {place} needs the Python package `{error.name}`, which is not installed. For "
            "PostgreSQL write `postgresql+psycopg://…` in course.yaml and install `dgm-autograder[postgres]`."
        ) from error
    except (SQLAlchemyError, sqlite3.Error) as error:
        text = _without_password(str(getattr(error, "orig", None) or error).split("\n")[0], url)
        if "locked" in text or "busy" in text:
            raise UserError(
                f"The gradebook {place} is in use by another program and stayed locked for {WAIT_SECONDS:g} s; "
                "close it (formgrader, a database browser, another grader) and run the command again."
            ) from error
        raise UserError(f"The gradebook {place} cannot be used: {text.rstrip('.')}.") from None
    except OSError as error:
        raise UserError(f"The gradebook {place} cannot be used: {error.strerror or error}.") from error


def _refuse_another_version(api: Any, url: str) -> None:
    """Raise UserError if another version of nbgrader made it: its tables may lack what ours has."""
    from sqlalchemy import text

    with transaction(api, url):
        found = api.db.execute(text("SELECT version_num FROM alembic_version")).scalar()
    if found != _head():
        api.close()
        raise UserError(
            f"The gradebook {url.removeprefix(SQLITE)} was made by another version of nbgrader; run "
            "`nbgrader db upgrade` in the course folder, which keeps a copy of it."
        )


def _configure(connection: Any, record: object) -> None:
    connection.isolation_level = None  # SQLAlchemy begins the transactions, see `_begin`


def _begin(connection: Any) -> None:
    connection.exec_driver_sql("BEGIN IMMEDIATE")  # wait for the lock here, not half-way


def shown_url(url: str) -> str:
    """Where a gradebook is, for people: never with the password."""
    from sqlalchemy.engine import make_url
    from sqlalchemy.exc import ArgumentError

    if url.startswith(SQLITE):
        return url.removeprefix(SQLITE)
    try:
        return make_url(url).render_as_string(hide_password=True)
    except (ArgumentError, ValueError):
        return "of course.yaml"


def _without_password(text: str, url: str) -> str:
    """A driver's words with every form of the password taken out."""
    from sqlalchemy.engine import make_url
    from sqlalchemy.exc import ArgumentError

    try:
        password = make_url(url).password
    except (ArgumentError, ValueError):
        return "the URL cannot be read"
    for form in {password, quote(password), quote_plus(password)} if password else ():
        text = text.replace(form, "***")
    return text


@cache
def _head() -> str:
    """The version of a gradebook's tables that this nbgrader makes."""
    from alembic.config import Config
    from alembic.script import ScriptDirectory
    from nbgrader.dbutil import _temp_alembic_ini

    with _temp_alembic_ini(f"{SQLITE}/") as settings:  # nbgrader itself starts the program `alembic`, a second slower
        return str(ScriptDirectory.from_config(Config(settings)).get_current_head())


def _make_tables(connection: Any) -> None:
    """The tables of an empty gradebook, and of which schema they are."""
    from nbgrader.api import Base

    Base.metadata.create_all(bind=connection)
    connection.exec_driver_sql("CREATE TABLE alembic_version (version_num VARCHAR(32) NOT NULL)")
    connection.exec_driver_sql(f"INSERT INTO alembic_version VALUES ('{_head()}')")


def _create_on_server(url: str) -> None:
    """Make the tables of an empty database in one transaction; two that do so at a time wait for each other."""
    from sqlalchemy import create_engine, inspect, text

    engine = create_engine(url)
    try:
        with engine.begin() as connection:
            if connection.dialect.name == "postgresql":
                connection.execute(text("SELECT pg_advisory_xact_lock(20210926)"))
            if not inspect(connection).has_table("alembic_version"):
                _make_tables(connection)
    finally:
        engine.dispose()


def _create_sqlite(path: Path) -> None:
    """Make an empty gradebook beside its place and move it there, so that none is ever half made.

    An empty file in its place, as a full disk leaves one, is no gradebook.
    """
    if path.exists() and path.stat().st_size:
        return
    from sqlalchemy import create_engine

    path.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=path.parent, prefix=f".{path.name}.") as folder:
        fresh = Path(folder) / path.name
        engine = create_engine(f"{SQLITE}{fresh}")
        with engine.begin() as connection:
            _make_tables(connection)
        engine.dispose()
        if path.exists():
            fresh.replace(path)
            return
        try:
            path.hardlink_to(fresh)
        except FileExistsError:
            return  # another grader was faster
