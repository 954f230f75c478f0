"""Programs that run user code in a separate process. They use the standard library only."""
