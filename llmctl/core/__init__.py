"""Values shared by all packages: messages, events, errors, ids, time. Standard library only."""
