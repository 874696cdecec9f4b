# Licensed under the Apache License, Version 2.0; see LICENSE.
"""One page of a list, found by its place in an index and not by counting rows.

A page starts after its marker row: the order is compared with the marker's
values, so that the last page costs what the first one does.  The row id ends
every order, which makes it total.
"""

import dataclasses
import re
from collections.abc import Iterable
from typing import Any, TypeVar

import sqlalchemy as sa
from sqlalchemy import orm

from hacore.db.models import Base
from hacore.errors import InvalidMarker

M = TypeVar("M", bound=Base)

_UUID = re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}")
_LARGEST_ID = 2**31 - 1  # what an INTEGER column holds on every database


@dataclasses.dataclass(frozen=True)
class Sort:
    """One key of an order: an attribute of the model."""

    attribute: str
    descending: bool


@dataclasses.dataclass(frozen=True)
class Page:
    """Which part of a list is wanted.

    :param marker: id or uuid of the row before the first one wanted, as a client wrote it.
    """

    limit: int
    marker: str | None = None
    order: tuple[Sort, ...] = (Sort("created_at", descending=True),)


@dataclasses.dataclass(frozen=True)
class _Term:
    """An expression to order by; the marker's value for it is in `label`."""

    expression: sa.ColumnElement[Any]
    descending: bool
    label: str


def fetch(session: orm.Session, query: sa.Select[M], model: type[M], page: Page) -> list[M]:
    """Return the rows of `query` that are on `page`: one query, and one more for a marker.

    Raises InvalidMarker.
    """
    if page.limit == 0:
        return []
    return list(session.scalars(cut(session, query, model, page)))


def cut(session: orm.Session, query: sa.Select[M], model: type[M], page: Page) -> sa.Select[M]:
    """Return `query` for what is on `page`, in its order.

    Raises InvalidMarker.
    """
    terms = list(_terms(model, page.order))
    if page.marker is not None:
        values = _marker_values(session, model, terms, page.marker)
        query = query.where(_after(terms, values))
    order = [term.expression.desc() if term.descending else term.expression for term in terms]
    return query.order_by(*order).limit(page.limit)


def _terms(model: type[M], order: Iterable[Sort]) -> Iterable[_Term]:
    order = list(order)
    for place, sort in enumerate(order):
        column = getattr(model, sort.attribute)
        if sort.attribute == "id":
            break
        if column.nullable:
            # where NULL sorts differs from database to database
            missing = sa.case((column.is_(None), 1), else_=0)
            yield _Term(missing, sort.descending, f"missing_{place}")
        yield _Term(column, sort.descending, f"value_{place}")
    else:
        yield _Term(model.id.expression, order[0].descending if order else True, "row_id")
        return
    yield _Term(model.id.expression, sort.descending, "row_id")


def _marker_values(
    session: orm.Session, model: type[M], terms: list[_Term], marker: str
) -> sa.Row[Any]:
    query = sa.select(*(term.expression.label(term.label) for term in terms))
    if marker.isascii() and marker.isdigit():
        number = int(marker) if len(marker) <= len(str(_LARGEST_ID)) else _LARGEST_ID + 1
        found = model.id == min(number, _LARGEST_ID)
    elif _UUID.fullmatch(marker):
        found = sa.inspect(model).columns["uuid"] == marker
    else:
        raise InvalidMarker("marker: it is neither the id nor the uuid of a row.")
    row = session.execute(query.where(found)).one_or_none()
    if row is None:
        raise InvalidMarker("marker: no row has this id or uuid.")
    return row


def _after(terms: list[_Term], values: sa.Row[Any]) -> sa.ColumnElement[bool]:
    """Return the condition that a row comes after the one with `values`.

    ``a > x OR (a = x AND (b > y OR ...))``, and before it ``a >= x``, which
    says nothing new but lets every database enter its index at the marker.
    """
    condition: sa.ColumnElement[bool] = sa.false()
    for term in reversed(terms):
        value = getattr(values, term.label)
        if value is None:
            continue  # rows without a value are equal here; the term before it set them apart
        bound = sa.literal(value, type_=term.expression.type)
        beyond = term.expression < bound if term.descending else term.expression > bound
        condition = sa.or_(beyond, sa.and_(term.expression == bound, condition))
    first = terms[0]
    bound = sa.literal(getattr(values, first.label), type_=first.expression.type)
    start = first.expression <= bound if first.descending else first.expression >= bound
    return sa.and_(start, condition)
