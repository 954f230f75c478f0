"""Prices and capabilities of models, and how to look them up."""
