# Licensed under the Apache License, Version 2.0; see LICENSE.
"""A task that does nothing."""

from hacore.tasks.base import Task


class NoOp(Task):
    """Fills a list that must not be empty, and serves as an example."""

    def execute(self) -> None:
        """Do nothing."""
        self.update_details("Nothing to do here.", 1.0)
