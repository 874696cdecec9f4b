# Licensed under the Apache License, Version 2.0; see LICENSE.
"""Several APIs as one, as a balancer shows them to a monitor that tries again."""

import itertools
from collections import Counter
from collections.abc import Sequence

import requests

from tests.e2e.clients import Hacore
from tests.e2e.daemons import wait_for

_ANSWER_S = 120.0


class Balancer:
    """Asks one of the APIs, and the next one when that one has no answer.

    No answer is a connection that broke or was refused, and 503 with Retry-After.  An API
    that leaves its client waiting raises requests.Timeout, which nothing here catches.

    :param urls: of the APIs.
    :param counts: where it counts what was no answer.
    """

    def __init__(self, urls: Sequence[str], counts: Counter[str]) -> None:
        self._urls = urls
        self._counts = counts

    def ask(self, method: str, path: str, body: object = None, first: int = 0) -> requests.Response:
        """The answer; a status of 500 or more is none.  Threads may ask side by side.

        :param first: number of the API that is asked first.
        """
        turns = itertools.count(first)

        def answered() -> tuple[requests.Response] | None:  # a response of 4xx is false itself
            url = self._urls[next(turns) % len(self._urls)]
            answer = self._ask(url, method, path, body)
            return None if answer is None else (answer,)

        (answer,) = wait_for(f"an answer to {method} {path}", answered, _ANSWER_S, 0.3)
        return answer

    def _ask(self, url: str, method: str, path: str, body: object) -> requests.Response | None:
        client = Hacore(url, "admin:admin")
        try:
            answer = client.ask(method, path, body)
        except (requests.ConnectionError, requests.exceptions.ChunkedEncodingError):
            self._counts[f"{method} without an answer"] += 1
            return None
        finally:
            client.close()
        if answer.status_code == 503:
            assert int(answer.headers["Retry-After"]) > 0, answer.headers
            self._counts[f"{method} answered 503"] += 1
            return None
        assert answer.status_code < 500, answer.text
        return answer
