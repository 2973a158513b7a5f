"""What to cite for a training: its optimiser, averages and loss, and the architecture."""

from __future__ import annotations

from simkit.training.architectures import Architecture, MaceArchitecture, PainnArchitecture
from simkit.training.settings import TrainingSettings

ADAM = "D. P. Kingma, J. Ba, Adam: a method for stochastic optimization, ICLR 2015, arXiv:1412.6980"
AMSGRAD = "S. J. Reddi, S. Kale, S. Kumar, On the convergence of Adam and beyond, ICLR 2018, arXiv:1904.09237"
ADAMW = "I. Loshchilov, F. Hutter, Decoupled weight decay regularization, ICLR 2019, arXiv:1711.05101"
AVERAGE = "B. T. Polyak, A. B. Juditsky, SIAM J. Control Optim. 30, 838 (1992), doi:10.1137/0330046"
STOCHASTIC_AVERAGE = "P. Izmailov et al., Averaging weights leads to wider optima, UAI 2018, arXiv:1803.05407"
HUBER = "P. J. Huber, Ann. Math. Stat. 35, 73 (1964), doi:10.1214/aoms/1177703732"
UNIVERSAL = "I. Batatia et al., A foundation model for atomistic materials chemistry, arXiv:2401.00096"


def training_citations(settings: TrainingSettings) -> tuple[str, ...]:
    """References of the methods that a training uses."""
    optimiser, loss = settings.optimiser, settings.loss.kind
    uniform = settings.stage_two is not None and settings.stage_two.average == "uniform"
    used = {
        ADAM: True,
        ADAMW: optimiser.kind == "adamw",
        AMSGRAD: optimiser.amsgrad,
        AVERAGE: settings.ema is not None,
        STOCHASTIC_AVERAGE: uniform,
        HUBER: loss in ("huber", "universal"),
        UNIVERSAL: loss == "universal",
    }
    return tuple(reference for reference, yes in used.items() if yes)


def architecture_citations(architecture: Architecture) -> tuple[str, ...]:
    """References of a new architecture of simkit; other potentials declare theirs when they are there."""
    if isinstance(architecture, MaceArchitecture):
        from simkit.potentials.mace.model import CITATIONS
        from simkit.potentials.zbl import CITATION as ZBL

        return CITATIONS if architecture.zbl is None else (*CITATIONS, ZBL)
    if isinstance(architecture, PainnArchitecture):
        from simkit.potentials.painn import CITATION

        return (CITATION,)
    return ()
