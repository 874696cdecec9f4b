# Licensed under the Apache License, Version 2.0; see LICENSE.
"""A real Galera cluster of three nodes, with several writers and with one behind haproxy."""
