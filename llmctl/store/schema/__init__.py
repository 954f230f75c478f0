"""The tables: DDL files, introspection, migrations, custom names and fields."""
