"""Work through the batch APIs of providers: submit once, look again later, take each result in once."""
