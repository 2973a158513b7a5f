"""Workflow files: validated, run as a graph of steps, continued after interruptions."""
