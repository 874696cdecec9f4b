# Licensed under the Apache License, Version 2.0; see LICENSE.
"""What a metrics endpoint says, read over HTTP as Prometheus reads it."""

from typing import Self

import requests
from prometheus_client.parser import text_string_to_metric_families


class Scrape:
    """One answer.

    :ivar text: as it came.
    """

    def __init__(self, port: int) -> None:
        session = requests.Session()
        session.trust_env = False
        with session:
            answer = session.get(f"http://127.0.0.1:{port}/metrics", timeout=10)
        answer.raise_for_status()
        self.text = answer.text
        self._values = {
            (sample.name, frozenset(sample.labels.items())): sample.value
            for family in text_string_to_metric_families(answer.text)
            for sample in family.samples
        }

    def value(self, name: str, **labels: str) -> float:
        """The sum of all samples of `name` that have these labels; 0: there is none."""
        return sum(
            value
            for (found, its), value in self._values.items()
            if found == name and its >= frozenset(labels.items())
        )

    def has(self, name: str, **labels: str) -> bool:
        """Whether there is a sample with exactly these labels."""
        return (name, frozenset(labels.items())) in self._values

    def since(self, before: Self, name: str, **labels: str) -> float:
        """By how much `value` has grown."""
        return self.value(name, **labels) - before.value(name, **labels)
