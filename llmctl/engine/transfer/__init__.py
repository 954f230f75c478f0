"""Conversations and hubs on their way out and in."""
