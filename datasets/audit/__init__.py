"""A report of what is suspicious in a dataset, and what to do about it."""

from simkit.datasets.audit.report import Finding, Report
from simkit.datasets.audit.run import audit

__all__ = ["Finding", "Report", "audit"]
