# Licensed under the Apache License, Version 2.0; see LICENSE.
"""Run migrations on the connection that hacore.db.schema provides."""

from alembic import context

from hacore.db.models import Base

context.configure(
    connection=context.config.attributes["connection"],
    target_metadata=Base.metadata,
    # SQLite cannot alter a table: alembic copies it
    render_as_batch=True,
)
with context.begin_transaction():
    context.run_migrations()
