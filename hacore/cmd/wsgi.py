# Licensed under the Apache License, Version 2.0; see LICENSE.
"""``hacore.cmd.wsgi:application`` for uwsgi, gunicorn and others.

The configuration is read from the files that hacore-api reads, unless HACORE_CONFIG_FILES
names others, separated by ``;``.  The server must load the application after it has forked
(uwsgi --lazy-apps; gunicorn does so by default).
"""

import atexit
import os
import threading
from typing import Any

from hacore import concurrency


def _application() -> Any:
    names = filter(None, os.environ.get("HACORE_CONFIG_FILES", "").split(";"))
    argv = [f"--config-file={name}" for name in names]
    concurrency.select(argv)
    from hacore.api.composition import compose, start_heartbeat
    from hacore.clock import SystemClock
    from hacore.cmd import launch
    from hacore.monitoring import Monitoring

    with launch.one_sentence("hacore-api"):
        conf = launch.configure("hacore-api", argv)
        launch.check_application(conf)
        launch.check_bus(conf)
        launch.check_database(conf)
        launch.check_nova(conf, must_answer=False)
        Monitoring(conf, "api_port", one_of_many=True).start()
        clock = SystemClock()
        parts = compose(conf, clock)
        start_heartbeat(parts, clock, threading.Event())
        atexit.register(parts.heartbeat.end)
        return parts.app


application = _application()
