# Licensed under the Apache License, Version 2.0; see LICENSE.
"""The REST API: instance-ha v1, and beside it the operator API (``operator``).

``routes`` has the table of every URL: method, path, handler, policy rule, schemas.
``app`` serves that table through ``dispatch``, ``policies`` makes the rules of it and
``openapi`` the documentation.  From a URL to its SQL are three hops: the table, the
handler in the module of its resource, and a function of ``hacore.db``.
"""
