# Licensed under the Apache License, Version 2.0; see LICENSE.
"""Every schema that there was, each as a revision of the one before.

A revision is named after its number and what it leaves working, see hacore.db.schema.
One that only adds must not be noticed by the version before: new columns are nullable or
have a server default, new tables and indexes are nobody's duty, nothing is renamed (a
column gets a twin, which both versions' rows must make sense of).  What became needless is
removed by a revision of its own, in the same release or later.
"""
