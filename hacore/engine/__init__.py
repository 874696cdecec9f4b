# Licensed under the Apache License, Version 2.0; see LICENSE.
"""Claims notifications and recovers from what they tell.

``service`` starts and stops, ``queue`` claims and renews, ``recovery`` does one
claim from beginning to end, ``flows`` makes taskflow flows of the configured
lists, ``evacuation`` moves the instances of a host, ``login`` keeps a token.
"""
