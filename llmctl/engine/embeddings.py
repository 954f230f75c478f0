"""Embed texts, as many in one request as the wire takes."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from datetime import UTC, datetime

from llmctl.core.errors import UsageError
from llmctl.core.single_requests import EmbedRequest, EmbedResponse
from llmctl.engine.billing import cost as billing_cost
from llmctl.engine.billing.cost import CostEstimate
from llmctl.engine.models import rates
from llmctl.engine.models.rates import Price, max_cost
from llmctl.engine.single_request import PreparedRequest, SingleRequestPlan, SingleRequestRunner
from llmctl.wire import WIRES, Embeddings


def require_embeddings(plan: SingleRequestPlan) -> Embeddings:
    """Return the embeddings of the target's wire; raise UsageError where it has none."""
    embeddings = WIRES.load(plan.target.wire).embeddings
    if embeddings is None:
        name = plan.target.connection or plan.target.provider.name
        raise UsageError(
            f'"{name}" has no embeddings (wire {plan.target.wire})',
            hint="choose another with -m CONNECTION:MODEL",
            reason="no_embeddings",
        )
    return embeddings


def embed(
    runner: SingleRequestRunner, plan: SingleRequestPlan, texts: Sequence[str], batch: int | None = None
) -> Iterator[EmbedResponse]:
    """Yield answers, each with the vectors of the next texts; ``batch`` is the most texts in one request."""
    embeddings = require_embeddings(plan)
    size = min(batch or embeddings.most_texts, embeddings.most_texts)
    for start in range(0, len(texts), size):
        request = EmbedRequest(plan.target.model, tuple(texts[start : start + size]), plan.model_options)
        yield _embed_batch(runner, plan, embeddings, request)


def _embed_batch(
    runner: SingleRequestRunner, plan: SingleRequestPlan, embeddings: Embeddings, request: EmbedRequest
) -> EmbedResponse:
    http = embeddings.build_request(runner.endpoint, request)
    body = http.body.decode("utf-8", "replace")
    prepared = PreparedRequest(http, body, lambda price: _estimate_cost(price, plan, http.body))
    return runner.send(prepared, lambda body: embeddings.parse_response(body, request))


def _estimate_cost(price: Price, plan: SingleRequestPlan, body: bytes) -> CostEstimate | None:
    tokens = rates.max_input_tokens(body, (), None)
    cost = max_cost(price, tokens, 0, context=billing_cost.price_context(plan.model_options), moment=datetime.now(UTC))
    return None if cost is None else CostEstimate(tokens, 0, cost, cost)
