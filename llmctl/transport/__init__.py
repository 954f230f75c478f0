"""HTTP: one attempt at a time, bytes split into frames. Knows nothing of what the bytes mean."""
