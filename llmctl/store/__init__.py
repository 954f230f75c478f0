"""The hub: one SQLite file. All SQL lives here and in ``schema/``; knows no network and no terminal."""
