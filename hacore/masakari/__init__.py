# Licensed under the Apache License, Version 2.0; see LICENSE.
"""The way from Masakari to hacore: its configuration is converted, its database imported.

Masakari's database is read, never written.

===========  ==============================================================
config       a configuration of Masakari as one of hacore
options      which options of Masakari have another name, or no use
source       Masakari's database, read-only, as it is at one moment
rows         one row of Masakari's tables as the values of one of hacore's, or why not
importing    all rows, in one transaction
===========  ==============================================================
"""
