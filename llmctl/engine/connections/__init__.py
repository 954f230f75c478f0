"""From a reference to a model that can be called: connections, keys, addresses."""
