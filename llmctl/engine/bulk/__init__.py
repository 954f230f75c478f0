"""Many prompts: a job that answers every row of a table, in parallel, resumable after any death."""
