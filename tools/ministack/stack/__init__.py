# Licensed under the Apache License, Version 2.0; see LICENSE.
"""The modules of ministack.

base.py       settings, paths, ports, waiting
processes.py  daemons in the background
install.py    packages and virtual environments
servers.py    the database and the broker
configs.py    configuration files
services.py   the services and how each is started
cloud.py      a small client of the cloud
bringup.py    up, down
verbs.py      what can be done with a cloud that is up
masakari.py   the real Masakari beside it
"""
