"""What an audit found, as text and as JSON."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from typing import Any, Literal

LISTED = 20
"""Number of frames that a finding names."""

SEVERITIES = ("error", "warning", "note")


@dataclass(frozen=True)
class Finding:
    """One thing that an audit found.

    Attributes:
        severity: ``error`` (training fails or is meaningless), ``warning`` (look at it), ``note`` (good to know).
        kind: short name.
        message: what was found.
        remedy: what to do.
        frames: names of the first frames concerned; empty if it concerns the dataset.
        count: number of frames concerned.
    """

    severity: Literal["error", "warning", "note"]
    kind: str
    message: str
    remedy: str
    frames: tuple[str, ...] = ()
    count: int = 0


@dataclass(frozen=True)
class AuditReport:
    """What an audit found, the gravest first.

    Attributes:
        frames: number of frames that were looked at.
        findings: see :class:`Finding`.
        facts: numbers of general interest, units in the keys.
    """

    frames: int
    findings: tuple[Finding, ...]
    facts: dict[str, Any] = field(default_factory=dict)

    @property
    def errors(self) -> tuple[Finding, ...]:
        """The findings that make training fail or meaningless."""
        return tuple(finding for finding in self.findings if finding.severity == "error")

    def to_dict(self) -> dict[str, Any]:
        """JSON-compatible."""
        return {"frames": self.frames, "facts": self.facts, "findings": [asdict(finding) for finding in self.findings]}

    def __str__(self) -> str:
        lines = [f"{self.frames} frames", *(f"  {name}: {value}" for name, value in self.facts.items())]
        for finding in self.findings:
            count = f" ({finding.count} frames)" if finding.count else ""
            lines.append(f"{finding.severity.upper()} {finding.kind}{count}: {finding.message}")
            if finding.frames:
                rest = ", ..." if finding.count > len(finding.frames) else ""
                lines.append(f"    frames: {', '.join(finding.frames)}{rest}")
            lines.append(f"    what to do: {finding.remedy}")
        return "\n".join(lines if self.findings else [*lines, "nothing suspicious"])
