"""Jobs: who holds them, whether they live, what dead ones left."""
