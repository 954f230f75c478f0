"""Tool calls: permissions, execution, results."""
