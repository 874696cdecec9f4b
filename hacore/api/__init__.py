# Licensed under the Apache License, Version 2.0; see LICENSE.
"""The REST API, instance-ha v1.

``app`` makes the WSGI application.  Each resource module has its ``ROUTES``: a
URL, a method, the function that answers, the policy rule, and the schemas;
the answering, checking and documenting (``answering``, ``openapi``) all go by
that one table.  From a URL to its SQL are three hops: ROUTES, the function
beside them, and a function of ``hacore.db``.
"""
