# Licensed under the Apache License, Version 2.0; see LICENSE.
"""Keeps a Keystone token that is valid, so that no recovery waits for one.

A login that stops working is in the log when that happens, and not only in the
night in which a host fails.
"""

import logging
import threading

from hacore.clock import Clock
from hacore.errors import NovaError
from hacore.nova import Nova

LOG = logging.getLogger(__name__)

#: Less than the two minutes for which a token is to last at least.
_INTERVAL_S = 60.0


def refresh_token(nova: Nova, clock: Clock, stopped: threading.Event) -> None:
    """Log in whenever the token is about to expire; the body of a thread."""
    works = True
    while True:
        try:
            nova.keep_token()
        except NovaError as exc:
            if works:
                LOG.error(
                    "%s; recoveries cannot continue without a token, retrying every %g s",
                    exc,
                    _INTERVAL_S,
                )
            works = False
        else:
            if not works:
                LOG.info("Keystone authentication works again")
            works = True
        if clock.wait(stopped, _INTERVAL_S):
            return
