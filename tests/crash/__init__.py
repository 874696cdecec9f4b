# Licensed under the Apache License, Version 2.0; see LICENSE.
"""Real daemons that are killed again and again."""
