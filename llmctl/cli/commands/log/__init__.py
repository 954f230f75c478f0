"""``llmctl log``: append-only text logs of jobs, tools and users."""
