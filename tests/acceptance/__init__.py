"""The whole of llmctl, with real processes: crashes, concurrency, bad input, secrets, full disks."""
