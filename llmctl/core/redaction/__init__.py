"""Patterns of secrets and personal data, and the masking of both."""
