"""Optimisers, and which parameters they train and decay."""

from __future__ import annotations

from collections.abc import Iterable
from fnmatch import fnmatchcase

import torch
from torch import nn

from simkit.errors import SimkitError
from simkit.training.settings import OptimiserSettings


def freeze(module: nn.Module, patterns: Iterable[str]) -> list[str]:
    """Stop training the parameters whose names match a pattern (``*`` is any text); return their names.

    Raises:
        SimkitError: a pattern that matches nothing, or nothing left to train.
    """
    frozen: set[str] = set()
    for pattern in patterns:
        frozen |= set(_matching(module, pattern))
    for name, parameter in module.named_parameters():
        if name in frozen:
            parameter.requires_grad_(False)
    if not any(parameter.requires_grad for parameter in module.parameters()):
        raise SimkitError(f"expected parameters to train, found none: all {len(frozen)} are frozen")
    return sorted(frozen)


def trainable(module: nn.Module) -> list[nn.Parameter]:
    """Parameters that are trained, in a fixed order."""
    return [parameter for parameter in module.parameters() if parameter.requires_grad]


def decayed_names(module: nn.Module, patterns: Iterable[str] | None) -> set[str]:
    """Names of the parameters that decay: those that match, or by default the rule of :class:`OptimiserSettings`."""
    if patterns is not None:
        return {name for pattern in patterns for name in _matching(module, pattern)}
    products = {name for name, _ in module.named_parameters() if "products" in name.split(".")}
    return products or {name for name, parameter in module.named_parameters() if parameter.ndim >= 2}


def make_optimiser(module: nn.Module, settings: OptimiserSettings) -> torch.optim.Optimizer:
    """Adam or AdamW on the trainable parameters, in one group with and one without weight decay."""
    decayed = decayed_names(module, settings.decayed)
    named = [(name, parameter) for name, parameter in module.named_parameters() if parameter.requires_grad]
    groups = [
        {"params": [p for name, p in named if name in decayed], "weight_decay": settings.weight_decay},
        {"params": [p for name, p in named if name not in decayed], "weight_decay": 0.0},
    ]
    kind = torch.optim.AdamW if settings.kind == "adamw" else torch.optim.Adam
    return kind(
        [group for group in groups if group["params"]],
        lr=settings.learning_rate,
        betas=settings.betas,
        amsgrad=settings.amsgrad,
        fused=True,
    )


def _matching(module: nn.Module, pattern: str) -> list[str]:
    names = [name for name, _ in module.named_parameters()]
    found = [name for name in names if fnmatchcase(name, pattern)]
    if not found:
        raise SimkitError(
            f"no parameter is called like '{pattern}'; the names are {', '.join(names[:12])}"
            + (f" and {len(names) - 12} more" if len(names) > 12 else "")
        )
    return found
