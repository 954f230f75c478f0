"""The schema: DDL files, introspection, migrations, custom table names and fields."""
