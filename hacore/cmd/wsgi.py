# Licensed under the Apache License, Version 2.0; see LICENSE.
"""``hacore.cmd.wsgi:application`` for uwsgi, gunicorn and others.

The configuration files are those of hacore-api; HACORE_CONFIG_FILES, a list separated by
``;``, overrides them.  The server must load the application after the fork (uwsgi
--lazy-apps; gunicorn does so by default).
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
    from hacore import events
    from hacore.api.app import make_app
    from hacore.api.service import NOVA_PATIENCE_S
    from hacore.clock import SystemClock
    from hacore.cmd import launch
    from hacore.db.engine import Database
    from hacore.heartbeat import Heartbeat
    from hacore.monitoring import Monitoring
    from hacore.nova import Nova
    from hacore.rpc import Waker

    with launch.one_sentence("hacore-api"):
        conf = launch.configure("hacore-api", argv)
        launch.check_application(conf)
        launch.check_bus(conf)
        launch.check_database(conf)
        launch.check_nova(conf, must_answer=False)
        Monitoring(conf, "api_port", one_of_many=True).start()
        db = Database(conf.database)
        heartbeat = Heartbeat(db, "hacore-api", conf.host, conf.claim_lease)
        heartbeat.beat()
        threading.Thread(
            target=heartbeat.keep,
            args=(SystemClock(), threading.Event()),
            name="api-heartbeat",
            daemon=True,
        ).start()
        atexit.register(heartbeat.end)
        return make_app(
            conf,
            db,
            Nova(conf, retry_timeout_s=NOVA_PATIENCE_S),
            Waker(conf).wake,
            events.connect(conf, "hacore-api"),
        )


application = _application()
