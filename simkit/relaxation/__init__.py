"""Relaxation of one system or thousands in a batch, with any potential."""
