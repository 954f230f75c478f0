"""How people read money, durations, sizes, counts and times: one way to write each."""

from __future__ import annotations

from zoneinfo import ZoneInfo

import pytest

from llmctl.core.humanize import (
    NO_VALUE,
    format_age,
    format_bucket,
    format_change,
    format_compact,
    format_count,
    format_date,
    format_day,
    format_dollars,
    format_duration,
    format_percent,
    format_size,
    format_tick,
    format_time,
    pluralize,
)

AT = "2026-10-05T22:30:00.000+00:00"
TOKYO = ZoneInfo("Asia/Tokyo")


@pytest.mark.parametrize(
    ("amount", "text"),
    [
        (None, NO_VALUE),
        (0, "$0"),
        (12_345.6, "$12,346"),
        (1234.5, "$1,234.50"),
        (1, "$1.00"),
        (0.9999, "$1.00"),
        (0.25, "$0.25"),
        (0.5, "$0.50"),
        (0.0041, "$0.0041"),
        (0.00012345, "$0.000123"),
        (0.00000012, "$0.00000012"),
        (-0.5, "−$0.50"),
    ],
)
def test_dollars_have_cents_or_three_significant_digits(amount: float | None, text: str) -> None:
    assert format_dollars(amount) == text


@pytest.mark.parametrize(
    ("ms", "text"),
    [
        (None, NO_VALUE),
        (0, "0 ms"),
        (999, "999 ms"),
        (999.9, "1 s"),
        (1500, "1.5 s"),
        (30_000, "30 s"),
        (150_000, "2.5 min"),
        (6_000_000, "1.7 h"),
    ],
)
def test_durations_have_a_unit_that_fits(ms: float | None, text: str) -> None:
    assert format_duration(ms) == text


@pytest.mark.parametrize(
    ("size", "text"), [(0, "0 bytes"), (1, "1 byte"), (999, "999 bytes"), (1234, "1.23 kB"), (20_000_000, "20.0 MB")]
)
def test_sizes_have_three_digits(size: int, text: str) -> None:
    assert format_size(size) == text


@pytest.mark.parametrize(
    ("count", "text"), [(None, NO_VALUE), (999, "999"), (1240, "1.24k"), (1_240_000, "1.24M"), (123e9, "123B")]
)
def test_compact_counts_have_three_digits(count: float | None, text: str) -> None:
    assert format_compact(count) == text


def test_counts_have_separated_thousands_and_a_noun() -> None:
    assert (format_count(1234567), format_count(None)) == ("1,234,567", NO_VALUE)
    assert (pluralize(1, "request"), pluralize(1234, "request")) == ("1 request", "1,234 requests")


@pytest.mark.parametrize(
    ("part", "whole", "text"),
    [(1, None, NO_VALUE), (0, 5, "0 %"), (1, 10_000, "<0.1 %"), (1, 200, "0.5 %"), (1, 3, "33 %")],
)
def test_percentages_of_a_whole(part: float, whole: float | None, text: str) -> None:
    assert format_percent(part, whole) == text


@pytest.mark.parametrize(
    ("now", "before", "text"),
    [(112, 100, "+12 %"), (88, 100, "−12 %"), (100, 100, "±0 %"), (1, 0, None), (None, 1, None), (99, 1, None)],
)
def test_changes_are_relative(now: float | None, before: float | None, text: str | None) -> None:
    assert format_change(now, before) == text


def test_ages_are_relative_for_thirty_days() -> None:
    base = 1_791_239_400  # AT
    seconds = (0, 59, 61, 7300, 86400 * 3, 86400 * 40, -120)
    assert [format_age(AT, base + later) for later in seconds] == [
        *("0 s ago", "59 s ago", "1 min ago", "2 h ago", "3 d ago", "2026-10-05", "in 2 min")
    ]


def test_times_are_those_of_a_zone() -> None:
    assert (format_time(AT, None), format_time(AT, TOKYO)) == ("2026-10-05 22:30", "2026-10-06 07:30")
    assert (format_day(AT, TOKYO), format_day(None, None)) == ("2026-10-06", None)
    assert (format_date(AT, None), format_date(AT, TOKYO)) == ("5 Oct 2026", "6 Oct 2026")


def test_buckets_have_full_names_and_short_labels() -> None:
    names = ["2026-10-05T23:00:00.000+00:00", "2026-10-06T00:00:00.000+00:00", "2026-10-06T01:00:00.000+00:00"]
    assert [format_bucket(name) for name in (names[0], "2026-10-05", "2026-10")] == [
        *("5 Oct 2026, 23:00", "5 Oct 2026", "Oct 2026")
    ]
    assert [format_tick(name, before) for name, before in zip(names, [None, *names], strict=False)] == [
        *("5 Oct 23:00", "6 Oct 00:00", "01:00")
    ]
    assert [format_tick("2026-12", None), format_tick("2027-01", "2026-12"), format_tick("2027-02", "2027-01")] == [
        *("Dec 2026", "Jan 2027", "Feb")
    ]
