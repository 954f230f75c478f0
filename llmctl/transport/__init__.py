"""Bytes over HTTP: one attempt at a time, cut into frames. Does not know what the bytes mean."""
