# Licensed under the Apache License, Version 2.0; see LICENSE.
"""The commands.  Each selects the concurrency back end before it imports anything else."""
