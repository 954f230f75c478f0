"""Agents, prompt files and their definitions."""
