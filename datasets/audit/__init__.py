"""A report of what is suspicious in a dataset, and what to do about it."""

from simkit.datasets.audit.report import AuditReport, Finding
from simkit.datasets.audit.run import audit

__all__ = ["AuditReport", "Finding", "audit"]
