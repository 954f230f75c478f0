"""What happens to tool calls: who may, who runs, what is told."""
