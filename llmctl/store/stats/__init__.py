"""Queries behind ``stats`` and ``report``."""
