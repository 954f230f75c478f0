"""Record what other programs send to models: the recording proxy."""
