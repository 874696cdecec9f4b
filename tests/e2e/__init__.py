# Licensed under the Apache License, Version 2.0; see LICENSE.
"""hacore as it is deployed, against a real Nova."""
