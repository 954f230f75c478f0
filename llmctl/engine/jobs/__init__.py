"""Jobs: commands in the background, leases and heartbeats."""
