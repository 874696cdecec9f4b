# Licensed under the Apache License, Version 2.0; see LICENSE.
"""/operator/v1: what operators read and decide, beside instance-ha v1 in the same service.

``routes`` has the table of its URLs, as `hacore.api.routes` has that of instance-ha.  It has no
microversions and no project in its paths; what is served is declared in ``resources``.
"""
