"""What is submitted to Mistral, held against the request type of its official package (``pip install mistralai``)."""

from __future__ import annotations

import json

import pytest

from llmctl.wire.batches import BATCHES, run_steps
from tests.wire.test_batches import Host, endpoint_of, make_input

models = pytest.importorskip("mistralai.client.models", reason="mistralai is not installed")


def test_official_type_accepts_a_batch_of_mistral() -> None:
    host = Host({"id": "j1", "status": "QUEUED"})
    run_steps(BATCHES.load("mistral").submit(endpoint_of("mistral"), make_input("mistral")), host)
    body = json.loads(host.sent[0].body)
    parsed = models.CreateBatchJobRequest.model_validate(body)
    assert set(body) <= set(models.CreateBatchJobRequest.model_fields)
    assert (parsed.model, [one.custom_id for one in parsed.requests]) == (
        "m-1",
        [one["custom_id"] for one in body["requests"]],
    )
