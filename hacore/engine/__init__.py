# Licensed under the Apache License, Version 2.0; see LICENSE.
"""Claims notifications and recovers from the failures that they report.

``service`` starts and stops, ``queue`` claims and renews, ``recovery`` does one
claim from beginning to end, ``flows`` makes taskflow flows of the configured
lists and ``steps`` records how they go, ``context`` is what tasks work with,
``evacuation`` moves the instances of a host (each by ``instance_evacuation``,
as many at once as ``window`` has places), ``cleanup`` undoes what was left
half-done, ``outcome`` ends the claim.
"""
