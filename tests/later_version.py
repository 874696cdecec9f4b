# Licensed under the Apache License, Version 2.0; see LICENSE.
"""What a later version of hacore knows of the database: three revisions, made up."""

import pathlib
import shutil

from hacore.db.schema import OURS, History

_REVISION = """
import sqlalchemy as sa
from alembic import op

revision = {revision!r}
down_revision = {before!r}
branch_labels = None
depends_on = None


def upgrade() -> None:
    with op.batch_alter_table("hosts") as table:
        {change}
"""
_CHANGES = {
    "9005_needs_0001": 'table.add_column(sa.Column("rack", sa.String(60)))',
    "9006_needs_9005": 'table.drop_column("control_attributes")',
    "9007_needs_9005": 'table.create_index("hosts_by_rack", ["rack"])',
}
ADDED, REMOVED, ADDED_AFTERWARDS = _CHANGES


def history(folder: pathlib.Path) -> History:
    """It has added a column, removed one, and added an index.

    :param folder: for the revisions; not there yet.
    """
    shutil.copytree(OURS.folder, folder)
    before = OURS.newest
    for revision, change in _CHANGES.items():
        text = _REVISION.format(revision=revision, before=before, change=change)
        (folder / "versions" / f"{revision}.py").write_text(text)
        before = revision
    return History(folder, (*OURS.revisions, *_CHANGES))
