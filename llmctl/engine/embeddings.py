"""Texts to vectors, as many texts in a request as the wire takes."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from datetime import UTC, datetime

from llmctl.core.embeddings import EmbedRequest, EmbedResponse
from llmctl.core.errors import UsageError
from llmctl.engine.billing import cost as billing_cost
from llmctl.engine.billing import estimate
from llmctl.engine.billing.budget import Bound
from llmctl.engine.billing.rates import Price, most
from llmctl.engine.single_request import Errand, Question
from llmctl.engine.single_request_runner import Exchange
from llmctl.wire import WIRES, Embeddings


def embeddings_of(errand: Errand) -> Embeddings:
    """Return how the target embeds; raise UsageError where its wire has no way to."""
    found = WIRES.load(errand.target.wire).embeddings
    if found is None:
        name = errand.target.connection or errand.target.provider.name
        raise UsageError(
            f'"{name}" speaks {errand.target.wire}, which has no embeddings',
            hint="choose another with -m CONNECTION:MODEL",
            reason="no_embeddings",
        )
    return found


def embed(
    exchange: Exchange, errand: Errand, texts: Sequence[str], batch: int | None = None
) -> Iterator[EmbedResponse]:
    """Yield the answers, each with the vectors of the next texts; ``batch`` is the most of them in a request."""
    way = embeddings_of(errand)
    size = min(batch or way.most_texts, way.most_texts)
    for start in range(0, len(texts), size):
        request = EmbedRequest(errand.target.model, tuple(texts[start : start + size]), errand.options)
        yield _one(exchange, errand, way, request)


def _one(exchange: Exchange, errand: Errand, way: Embeddings, request: EmbedRequest) -> EmbedResponse:
    http = way.build_request(exchange.endpoint, request)
    question = Question(http, http.body.decode("utf-8", "replace"), lambda price: _bound(price, errand, http.body))
    return exchange.ask(question, lambda body: way.parse_response(body, request))


def _bound(price: Price, errand: Errand, body: bytes) -> Bound | None:
    tokens = estimate.input_tokens(body, (), None)
    cost = most(price, tokens, 0, context=billing_cost.context_of(errand.options), moment=datetime.now(UTC))
    return None if cost is None else Bound(tokens, 0, cost, cost)
