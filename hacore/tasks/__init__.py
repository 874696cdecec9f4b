# Licensed under the Apache License, Version 2.0; see LICENSE.
"""The steps of recoveries, one class each, found by their entry points.

A step may run twice: each reads Nova before it acts.
"""
