# Licensed under the Apache License, Version 2.0; see LICENSE.
"""Generated requests, by what the OpenAPI documents declare; SCHEMATHESIS_EXAMPLES says how many.

At least what must hold for each: no 5xx, a declared status, the declared
media type, headers and body, and a 4xx for what the schemas forbid.

The last test prints how many requests were answered, by the class of their status, and
fails below SCHEMATHESIS_CASES.  For at least 20,000 of them (some operations have fewer
different requests than are asked for):

    SCHEMATHESIS_EXAMPLES=1000 SCHEMATHESIS_CASES=20000 pytest tests/api/test_schemathesis.py
"""

import collections
import os
from typing import Any
from wsgiref.types import WSGIApplication

import pytest
import schemathesis
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis.errors import Unsatisfiable
from schemathesis import GenerationMode, checks

from hacore.api import openapi

from .conftest import Client

EXAMPLES = int(os.environ.get("SCHEMATHESIS_EXAMPLES", "10"))  # for each operation
CASES = int(os.environ.get("SCHEMATHESIS_CASES", "100"))  # in all, at least

#: Requests whose answers held, by the first digit of the status.
answered: collections.Counter[int] = collections.Counter()

#: It demands that every request valid by the schema is accepted, but Nova must also know the host.
LEFT_OUT = [checks.positive_data_acceptance]


#: A request that violates its schema may also be too large, and so on.
REFUSALS = [400, 401, 403, 404, 405, 406, 409, 413, 415, 503]
CONFIG = schemathesis.Config.from_dict(
    {"checks": {"negative_data_rejection": {"expected-statuses": REFUSALS}}}
)


@pytest.fixture
def api(app: WSGIApplication, described: openapi.Api) -> Any:
    # rows to find
    client = Client(app)
    client.host(client.segment())
    client.notification()
    document = openapi.document(described)
    del document["security"]  # there are no tokens here
    schema = schemathesis.openapi.from_dict(document, config=CONFIG)
    schema.app = app
    return schema


OPERATIONS = [
    (described, method.upper(), path)
    for described in openapi.DOCUMENTS
    for path, methods in openapi.document(described)["paths"].items()
    for method in methods
]


@pytest.mark.parametrize("mode", list(GenerationMode), ids=lambda mode: mode.name.lower())
@pytest.mark.parametrize(
    ("described", "method", "path"), OPERATIONS, ids=[" ".join(each[1:]) for each in OPERATIONS]
)
def test_generated_requests(api: Any, method: str, path: str, mode: GenerationMode) -> None:
    @given(case=api[path][method].as_strategy(generation_mode=mode))
    @settings(
        max_examples=EXAMPLES,
        deadline=None,
        derandomize=True,
        suppress_health_check=list(HealthCheck),
        phases=[Phase.generate],
    )
    def ask(case: schemathesis.Case) -> None:
        answer = case.call_and_validate(excluded_checks=LEFT_OUT)
        answered[answer.status_code // 100] += 1

    try:
        ask()
    except Unsatisfiable:
        pytest.skip("nothing that this takes can be against its schema")


def test_how_many_there_were(capsys: pytest.CaptureFixture[str]) -> None:
    kinds = ", ".join(f"{count} answered {digit}xx" for digit, count in sorted(answered.items()))
    with capsys.disabled():
        print(f"\nschemathesis: {answered.total()} cases answered as declared: {kinds or 'none'}")
    assert answered[5] == 0
    assert answered.total() >= CASES
