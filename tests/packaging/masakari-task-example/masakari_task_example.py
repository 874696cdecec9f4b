# Licensed under the Apache License, Version 2.0; see LICENSE.
"""A third party's task for Masakari."""

from taskflow import task


class PageSomebodyTask(task.Task):
    """Tells somebody that a process is down."""

    def __init__(self, context, novaclient, **kwargs):
        super().__init__(name="PageSomebodyTask", requires=["process_name", "host_name"])

    def execute(self, process_name, host_name, **kwargs):
        """Page somebody."""
        if (process_name, host_name) != ("nova-compute", "compute1"):
            raise ValueError("paged for something else")
        self.update_progress(0.5)


class NotHacores(task.Task):
    """Has the name of one of hacore's, which goes first."""

    def execute(self):
        """Never called."""
        raise AssertionError
