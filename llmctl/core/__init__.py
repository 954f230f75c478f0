"""Words everyone shares: values, errors, ids, time. Standard library only; knows nothing of other rooms."""
