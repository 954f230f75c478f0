"""Looking after the hub: making it, checking it, emptying it."""
