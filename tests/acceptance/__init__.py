"""llmctl as a whole, with real processes: crashes, crowds, bad input, secrets, full disks."""
