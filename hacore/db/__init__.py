# Licensed under the Apache License, Version 2.0; see LICENSE.
"""The database of hacore; no other package accesses it.

``engine`` opens transactions, ``models`` has the tables, ``schema`` and
``migrations/`` create and upgrade them; then one module per resource, whose
functions take a `Database` first and are one transaction each.
"""
