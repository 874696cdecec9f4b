# Licensed under the Apache License, Version 2.0; see LICENSE.
"""hacore-api: the REST API on a web server of its own."""

import sys
from collections.abc import Sequence

from hacore import concurrency


def main(argv: Sequence[str] | None = None) -> None:
    """Check everything, then serve until SIGTERM."""
    argv = sys.argv[1:] if argv is None else argv
    concurrency.select(argv)
    from hacore.api.service import Api
    from hacore.clock import SystemClock
    from hacore.cmd import launch
    from hacore.monitoring import Monitoring

    notify = launch.take_notify_socket()
    with launch.one_sentence("hacore-api"):
        conf = launch.configure("hacore-api", argv)
        launch.check_api(conf)
        launch.check_bus(conf)
        launch.check_database(conf)
        launch.check_nova(conf, must_answer=False)
        monitoring = Monitoring(conf, "api_port")
    launch.run(conf, [monitoring, Api(conf, SystemClock(), notify)])
