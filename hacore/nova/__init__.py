# Licensed under the Apache License, Version 2.0; see LICENSE.
"""All access to Nova and Keystone: typed rows out, hacore's errors out, one session per process.

=============  ===============================================================
client         `Nova`: one method for each question or order, and nothing else
microversions  which ones hacore works with, and for what
retry          what is retried, how long, and the guard that each call asks
session        HTTP, authentication, metrics of each request
keystone       what is a token, and what is none
responses      what an answer must look like to be believed
translation    from the libraries' exceptions to `hacore.errors`
neighbours     what is read from Neutron and Placement
types          services, instances, migration records, aggregates
=============  ===============================================================
"""

from hacore.nova.client import Nova, of_several
from hacore.nova.retry import LATE_S, Guard
from hacore.nova.session import check_login, make_session
from hacore.nova.types import (
    EVACUATED,
    NOT_EVACUATED,
    RESTARTS,
    Action,
    Aggregate,
    Instance,
    Migration,
    Service,
)

__all__ = [
    "EVACUATED",
    "LATE_S",
    "NOT_EVACUATED",
    "RESTARTS",
    "Action",
    "Aggregate",
    "Guard",
    "Instance",
    "Migration",
    "Nova",
    "Service",
    "check_login",
    "make_session",
    "of_several",
]
