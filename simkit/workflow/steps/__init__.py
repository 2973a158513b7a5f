"""The steps that a workflow file can name, one module each."""
