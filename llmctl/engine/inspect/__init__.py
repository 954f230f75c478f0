"""Inspect past requests, threads and usage."""
