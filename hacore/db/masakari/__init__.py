# Licensed under the Apache License, Version 2.0; see LICENSE.
"""Moving in from Masakari: its database is read, never written, and its rows become ours.

===========  ==============================================================
source       its database, read-only and as it was at one moment
rows         one row of its tables as the values of one of ours, or why not
importing    all of them, in one transaction
===========  ==============================================================
"""
