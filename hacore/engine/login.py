# Licensed under the Apache License, Version 2.0; see LICENSE.
"""Holds a token, so that no recovery waits for one.

A login that works no more is told of when it stops to work, and not only in the
night in which a host has died.
"""

import logging
import threading

from hacore.clock import Clock
from hacore.errors import NovaError
from hacore.nova import Nova

LOG = logging.getLogger(__name__)

#: Less than the two minutes for which a token is to last at least.
_INTERVAL_S = 60.0


def stay_logged_in(nova: Nova, clock: Clock, stopped: threading.Event) -> None:
    """Log in whenever the token is about to expire; the body of a thread."""
    works = True
    while True:
        try:
            nova.keep_token()
        except NovaError as exc:
            if works:
                LOG.error("%s; recoveries cannot go on without, trying again each minute", exc)
            works = False
        else:
            if not works:
                LOG.info("logged in to Keystone again")
            works = True
        if clock.wait(stopped, _INTERVAL_S):
            return
