# Licensed under the Apache License, Version 2.0; see LICENSE.
"""Random schedules: worlds, faults and crashes drawn from a seed; promises checked all the way.

``python -m tests.schedules --count 10000`` runs many, ``--seed N`` tells the
story of one.  README.md says what is drawn, what is checked, and how it was
shown that the checks can fail.

``draw`` makes the plan of a seed (``plans`` says what that is), ``actors`` is the
clock, ``doors`` lead to the database and to Nova (an engine can only die at
one), ``checks`` and ``verdict`` hold the promises, ``engines`` starts hacore's
engines in the world, ``run`` lets a plan happen.
"""
