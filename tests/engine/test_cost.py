"""What a use of a model costs: the traps that other programs fell into, each as a test."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime, time
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from llmctl.core.chat import Usage
from llmctl.core.stored_values import dumps
from llmctl.engine.models import price_source
from llmctl.engine.models.rates import Price, calculate_usage_cost, max_cost, price_from_row
from llmctl.store.records.types import PriceRow

NOON = datetime(2026, 11, 21, 12, 0, tzinfo=UTC)


def row(**more: Any) -> Price:
    """Return a price: 3 and 15 dollars for a million tokens, and what a test adds."""
    columns = {f"{name}_per_million": more.pop(name, None) for name in ("cached", "cache_write", "thinking")}
    sides = {"input_per_million": more.pop("input", 3.0), "output_per_million": more.pop("output", 15.0)}
    return price_from_row(stored({**columns, **sides, "details": dumps(more)}))


def stored(columns: Mapping[str, Any]) -> PriceRow:
    named = {"id": "p", "provider": "test", "model": "m", "source": "test", "created_at": "", "updated_at": ""}
    return PriceRow.from_row({**columns, **named})


def listed(provider: str, model: str) -> Price:
    found = price_source.find_model(provider, model)
    assert found is not None, (provider, model)
    return price_from_row(stored([one for one in found.rows if (one["valid_from"] or "") <= "2026-11-21"][-1]))


def cost(price: Price, *counts: int, context: dict[str, Any] | None = None, at: datetime = NOON, **details: int) -> Any:
    usage = Usage(*counts, details=details)  # type: ignore[misc,arg-type]
    return calculate_usage_cost(usage, price, moment=at, context=context or {})


# The eight traps -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("provider", "model"),
    [
        ("openai", "gpt-4o-2099-01-01"),
        ("openai", "gpt-4-ultra"),
        ("openai", "gpt-5-nano-super"),
        ("anthropic", "claude-3-opus-next"),
        ("anthropic", "claude-sonnet-4-5-max"),
        ("gemini", "gemini-2.5-pro-ultra"),
        ("mistral", "mistral-large-9999"),
        ("nobody", "gpt-4o"),
    ],
)
def test_price_is_not_borrowed_from_a_model_that_begins_alike(provider: str, model: str) -> None:
    assert price_source.find_model(provider, model) is None


@pytest.mark.parametrize(
    ("provider", "model", "sides"),
    [
        ("anthropic", "claude-3-haiku-20240307", (0.25, 1.25)),
        ("anthropic", "claude-3-opus-20240229", (15.0, 75.0)),
        ("anthropic", "claude-sonnet-4-20250514", (3.0, 15.0)),
        ("openai", "gpt-4o-2024-08-06", (2.5, 10.0)),
        ("openai", "gpt-4o-2024-05-13", (5.0, 15.0)),
        ("openai", "gpt-4.1-mini-2025-04-14", (0.4, 1.6)),
        ("gemini", "gemini-2.0-flash-001", (0.1, 0.4)),
        ("azure", "gpt-4o", (2.5, 10.0)),
    ],
)
def test_model_is_priced_by_its_own_entry(provider: str, model: str, sides: tuple[float, ...]) -> None:
    found = price_source.find_model(provider, model)
    assert found is not None
    assert (found.rows[-1]["input_per_million"], found.rows[-1]["output_per_million"]) == sides


def test_id_with_slashes_is_taken_whole() -> None:
    small, large = (listed("openrouter", f"openai/{model}") for model in ("gpt-4o-mini", "gpt-4o"))
    assert cost(small, 1_000_000, 0) < cost(large, 1_000_000, 0)
    assert price_source.find_model("openrouter", "openai") is None


def test_discount_of_cached_tokens_is_not_made_up() -> None:
    assert cost(row(), 1_000_000, 0, 400_000) == 3.0
    assert cost(row(cached=0.3), 1_000_000, 0, 400_000) == pytest.approx(0.6 * 3 + 0.4 * 0.3)


def test_more_cached_than_sent_does_not_earn_money() -> None:
    assert cost(row(cached=0.3), 10, 0, 1_000_000) == pytest.approx(0.3)
    assert cost(row(cached=0.3), 10, 5, 1_000_000, 1_000_000, 1_000) > 0


def test_cache_writes_are_priced_by_how_long_they_are_kept() -> None:
    price = row(cache_write=3.75, rates={"cache_write_1h": 6.0})
    assert cost(price, 1_000_000, 0, 0, 1_000_000) == 3.75
    assert cost(price, 1_000_000, 0, 0, 1_000_000, cache_write_1h_tokens=1_000_000) == 6.0


def test_thinking_is_output_where_nothing_else_is_published() -> None:
    assert cost(row(), 0, 1_000_000, 0, 0, 900_000) == 15.0
    assert cost(row(thinking=3.0), 0, 1_000_000, 0, 0, 900_000) == pytest.approx(0.1 * 15 + 0.9 * 3)


def test_batch_tier_size_and_hour_have_prices_of_their_own() -> None:
    specials = [
        {"rates": {"input": [[0, 1.5]], "output": [[0, 7.5]]}, "when": {"processing": "batch"}, "since": "2026-10-01"},
        {"rates": {"input": [[0, 6.0]]}, "begins": "23:00:00", "ends": "01:00:00"},
    ]
    price = row(tiers={"input": [[200_000, 6.0]]}, specials=specials)
    assert cost(price, 200_000, 0) == pytest.approx(0.6)
    assert cost(price, 200_001, 0) == pytest.approx(200_001 * 6e-6)  # all of it, not what is above
    assert cost(price, 1000, 1000, context={"processing": "batch"}) == pytest.approx(0.009)
    early = datetime(2026, 9, 1, tzinfo=UTC).replace(hour=12)
    assert cost(price, 1000, 1000, context={"processing": "batch"}, at=early) is None, "no batch rate is known"
    assert cost(price, 1000, 0, at=datetime.combine(NOON, time(0, 30), UTC)) == pytest.approx(0.006)


def test_unknown_is_none_and_never_zero() -> None:
    assert cost(row(), 0, 0) is None
    assert cost(row(output=None), 10, 10) is None
    assert cost(row(output=None), 10, 0) == pytest.approx(3e-5)  # an embedding
    assert cost(row(), 10, 10, web_searches=2) is None
    assert cost(row(input=0.0, output=0.0), 10, 10) == 0


# ----------------------------------------------------------------------------------------------------------------


def test_sound_and_pictures_are_taken_out_of_the_text() -> None:
    price = row(rates={"input_audio": 32.0, "output_image": 40.0})
    assert cost(price, 1000, 0, input_audio_tokens=600) == pytest.approx(400 * 3e-6 + 600 * 32e-6)
    assert cost(price, 0, 1000, output_image_tokens=1000) == pytest.approx(0.04)


def test_requests_and_pictures_are_counted_by_the_piece() -> None:
    assert cost(row(rates={"request": 0.005}), 1000, 0) == pytest.approx(0.008)
    assert cost(row(rates={"image": 0.04}), 0, 0, images=2) == pytest.approx(0.08)
    assert cost(row(), 1000, 0, images=2) == pytest.approx(0.003)  # billed in tokens


def test_a_tiny_cost_is_not_rounded_away() -> None:
    assert cost(row(input=0.02), 1, 0) == 2e-8


@settings(max_examples=60)
@given(st.lists(st.integers(0, 10**7), min_size=5, max_size=5), st.booleans())
def test_cost_is_never_negative_and_never_above_the_bound(counts: Any, discounts: Any) -> None:
    price = row(cached=0.3, cache_write=3.75, thinking=20.0) if discounts else row()
    sent = max(counts[0], counts[2] + counts[3])
    usage = Usage(sent, counts[1], counts[2], counts[3], min(counts[4], counts[1]))
    found = calculate_usage_cost(usage, price, moment=NOON)
    bound = max_cost(price, sent, counts[1], moment=NOON)
    assert found is None or bound is None or 0 <= found <= bound + 1e-9


def test_every_list_price_gives_what_the_list_itself_computes() -> None:
    from genai_prices import types
    from genai_prices.data import providers

    usage = Usage(300_000, 500, 75_000, 30_000, 100)
    theirs = types.Usage(
        input_tokens=300_000,
        output_tokens=500,
        cache_read_tokens=75_000,
        cache_write_tokens=30_000,
        output_reasoning_tokens=100,
    )
    compared = 0
    for name in ("openai", "anthropic", "mistral", "deepseek", "groq"):
        provider = next(provider for provider in providers if provider.id == name)
        assert provider.models
        for model in provider.models:
            found = price_source.find_model(name, model.id)
            ours = calculate_usage_cost(usage, listed(name, model.id), moment=NOON) if found else None
            if ours is not None and found is not None and found.id == model.id:
                expected = model.calc_price(theirs, provider, genai_request_timestamp=NOON).total_price
                assert Decimal(ours) == pytest.approx(expected, abs=Decimal("1e-9")), model.id
                compared += 1
    assert compared > 100


def test_rows_begin_on_the_days_that_prices_changed() -> None:
    found = price_source.find_model("openai", "o3")
    assert found is not None
    assert [(one["valid_from"], one["input_per_million"]) for one in found.rows] == [
        (None, 10.0),
        ("2025-06-10T00:00:00.000+00:00", 2.0),
    ]


# Batches ---------------------------------------------------------------------------------------------------------

BATCH = {"processing": "batch"}


@pytest.mark.parametrize("model", ["claude-haiku-4-5", "claude-sonnet-4-5"])
def test_batch_costs_half_of_what_is_published(model: str) -> None:
    price = listed("anthropic", model)
    at_once = cost(price, 1_000_000, 100_000, 50_000)
    assert cost(price, 1_000_000, 100_000, 50_000, context=BATCH) == pytest.approx(at_once / 2)
    assert max_cost(price, 1_000, 1_000, context=BATCH, moment=NOON) == pytest.approx(
        (max_cost(price, 1_000, 1_000, moment=NOON) or 0.0) / 2
    )


def test_batch_without_a_published_rate_has_an_unknown_cost() -> None:
    assert cost(row(), 1_000, 1_000) is not None
    assert cost(row(), 1_000, 1_000, context=BATCH) is None
    assert max_cost(row(), 1_000, 1_000, context=BATCH, moment=NOON) is None


def test_batch_takes_no_rate_of_requests_at_once() -> None:
    """Cached tokens have no batch rate here: they cost what other input of a batch does."""
    special = {"rates": {"input": [[0, 1.5]], "output": [[0, 7.5]]}, "when": BATCH}
    night = {"rates": {"input": [[0, 0.1]]}, "begins": "00:00:00", "ends": "23:59:59"}
    price = row(cached=2.9, specials=[special, night])
    assert cost(price, 1_000_000, 0, 1_000_000, context=BATCH) == pytest.approx(1.5)
    assert cost(price, 1_000_000, context={**BATCH, "service_tier": "batch"}) == pytest.approx(1.5)
