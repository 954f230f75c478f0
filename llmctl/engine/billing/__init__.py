"""The cost of requests, and cost limits."""
