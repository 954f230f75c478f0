"""Stand-ins for what is outside llmctl: servers on this machine that do what real ones only do on a bad day."""
