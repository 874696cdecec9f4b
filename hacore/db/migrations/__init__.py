# Licensed under the Apache License, Version 2.0; see LICENSE.
"""All schemas, each as a revision of the previous one.

The name of a revision says which versions still work with it, see hacore.db.schema.  An
expansion must go unnoticed by the previous version: new columns are nullable or have a server
default, new tables and indexes need nothing from it, nothing is renamed (the new column is
added beside the old one, and rows that either version writes must be valid).  What is no
longer needed is removed by a revision of its own, in the same release or later.
"""
