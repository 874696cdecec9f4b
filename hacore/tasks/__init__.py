# Licensed under the Apache License, Version 2.0; see LICENSE.
"""The tasks of recoveries, one class each; the engine finds them through entry points.

A task may run twice: each reads Nova before it acts.
"""
