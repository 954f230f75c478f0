"""Read and write conversations, records and reports in other formats. Knows nothing of the database."""
