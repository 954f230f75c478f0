"""Programs that measure, not tests: ``python -m tests.benchmarks.startup`` and ``….streaming``."""
