"""Settings of methods and calibrations, as workflow files and the command line have them; importing them is quick."""

from __future__ import annotations

from typing import Annotated, Literal, get_args

from pydantic import Field, NonNegativeFloat, NonNegativeInt, PositiveFloat, PositiveInt

from simkit.settings import Settings

Label = Literal["energy", "forces", "stress"]
Labels = Annotated[tuple[Label, ...], Field(min_length=1)]


class EnsembleMethod(Settings):
    """The models that are given are the members: nothing is fitted. Five are usual, two the least."""

    kind: Literal["ensemble"] = "ensemble"


class GaussianPosterior(Settings):
    """What methods share that make a Gaussian posterior of weights in one pass over the training data."""

    terms: Labels = Field(default=("energy", "forces", "stress"), description="labels used, of those that there are")
    energy_scale: PositiveFloat | None = Field(
        default=None, description="noise of the energy per atom in eV; by default the model's error in training"
    )
    forces_scale: PositiveFloat | None = Field(default=None, description="noise of the forces in eV/Å, likewise")
    stress_scale: PositiveFloat | None = Field(default=None, description="noise of the stress in eV/Å³, likewise")
    draws: PositiveInt = Field(default=4, ge=2, description="sets of weights that are drawn once, for all predictions")

    @property
    def scales(self) -> dict[str, float] | None:
        """Those that are given, by label."""
        given = {name: getattr(self, f"{name}_scale") for name in get_args(Label)}
        return {name: value for name, value in given.items() if value is not None} or None


class LLPRMethod(GaussianPosterior):
    """Last-layer prediction rigidity: a Gaussian posterior of the last layer, around the model as it is."""

    kind: Literal["llpr"] = "llpr"
    exact: bool = Field(default=False, description="covariance of forces without draws: slower by the weights' number")
    jitter: NonNegativeFloat | None = Field(
        default=None, description="added to the precision; by default as little as it needs"
    )


class LaplaceMethod(GaussianPosterior):
    """A Gaussian posterior of all weights, or of some, of small models: at most 5000 weights, and slow."""

    kind: Literal["laplace"] = "laplace"
    draws: PositiveInt = Field(default=8, ge=2, description="sets of weights that are drawn once, for samples")
    prior: PositiveFloat | None = Field(
        default=None, description="precision of the weights before the data; of largest marginal likelihood by default"
    )
    parameters: tuple[str, ...] = Field(default=("*",), description="patterns of names of uncertain parameters")


class LatentDistanceMethod(Settings):
    """Distance of each atom's features to those of the training atoms: a score, best out of domain, weak within."""

    kind: Literal["latent-distance"] = "latent-distance"
    density: Literal["mahalanobis", "mixture"] = Field(
        default="mahalanobis", description="one Gaussian for each element, or a mixture"
    )
    space: Literal["features", "last_layer"] = "features"
    components: PositiveInt = Field(default=10, description="most components of a mixture")


class PosteriorOptions(Settings):
    """Likelihood and prior; see :class:`simkit.uncertainty.posterior.PosteriorSettings`."""

    labels: Labels = ("energy", "forces")
    scales: Literal["sampled", "fixed"] = Field(default="sampled", description="whether error scales are sampled too")
    energy_scale: PositiveFloat | None = Field(default=None, description="error of the energy per atom in eV")
    forces_scale: PositiveFloat | None = Field(default=None, description="error of the force components in eV/Å")
    stress_scale: PositiveFloat | None = Field(default=None, description="error of the stress components in eV/Å³")
    prior_std: PositiveFloat = Field(default=1.0, description="standard deviation of every parameter about zero")
    batch_size: PositiveInt | None = Field(default=None, description="frames in a minibatch; all of them by default")
    control_variates: bool = Field(default=False, description="less noise of minibatches, for twice the evaluations")


class SgMcmcMethod(Settings):
    """Samples of the posterior of all parameters, by one chain from each of the models; four at least are advisable."""

    kind: Literal["sg-mcmc"] = "sg-mcmc"
    sampler: Literal["baoa", "psgld", "sgld", "sghmc", "hmc"] = "baoa"
    step: PositiveFloat | None = Field(default=None, description="step size; by default from the largest curvature")
    steps: PositiveInt = Field(default=3000, description="of each chain")
    burn_in: float = Field(default=1 / 3, ge=0, lt=1, description="first part of a chain, of which nothing is kept")
    kept: PositiveInt = Field(default=10, description="samples kept of each chain")
    temperature: NonNegativeFloat = Field(default=1.0, description="below 1 is a cold posterior")
    groups: tuple[tuple[str, ...], ...] = Field(
        default=(), description="patterns of names of parameters in each group that is sampled as if independent"
    )
    posterior: PosteriorOptions = PosteriorOptions()


class SwagMethod(Settings):
    """A Gaussian around the path of further training of each model."""

    kind: Literal["swag"] = "swag"
    epochs: PositiveInt = 40
    burn_in: float = Field(default=0.25, ge=0, lt=1, description="first part of the epochs, which is not used")
    step: PositiveFloat | None = Field(default=None, description="of RMSprop; chosen from the curvature by default")
    rank: PositiveInt = Field(default=20, description="most deviations in the low-rank part")
    draws: PositiveInt = Field(default=20, description="members for each model")
    scale: PositiveFloat = Field(default=1.0, description="factor of the covariance")
    posterior: PosteriorOptions = PosteriorOptions(scales="fixed", batch_size=5)


class AbnnMethod(Settings):
    """Noise in scalar channels of copies that are fine-tuned under it; ranks errors of regression poorly."""

    kind: Literal["abnn"] = "abnn"
    noise: NonNegativeFloat = Field(default=0.01, description="standard deviation of the gates")
    copies: PositiveInt = Field(default=3, description="fine-tuned copies")
    draws: PositiveInt = Field(default=6, description="draws of the noise for each copy")
    layers: tuple[str, ...] | None = Field(default=None, description="patterns of names of layers, if not known")
    diversity: NonNegativeFloat = Field(default=1.0, description="how unequal the frames' weights are")
    epochs: NonNegativeInt = Field(default=5, le=5)
    learning_rate: PositiveFloat = Field(default=0.1, description="in units of one over the largest curvature")
    momentum: float = Field(default=0.9, ge=0, lt=1)
    posterior: PosteriorOptions = PosteriorOptions(scales="fixed", batch_size=5)


class SequentialMethod(Settings):
    """Particles of some parameters, by default those of the readouts, by sequential Monte Carlo."""

    kind: Literal["sequential"] = "sequential"
    sampled: tuple[str, ...] = Field(default=("*readout*",), description="patterns of names of sampled parameters")
    method: Literal["ibis", "open-horizon"] = "ibis"
    particles: PositiveInt = 200
    members: PositiveInt = Field(default=16, description="draws that become members of the ensemble")
    batch_size: PositiveInt = 5
    prior_width: PositiveFloat = Field(default=0.1, description="of the prior about the trained parameters")
    moves: PositiveInt = Field(default=5, description="Metropolis steps after each resampling")
    walk: PositiveFloat = Field(default=1e-4, description="variance of the steps of open-horizon")
    epochs: PositiveInt = Field(default=10, description="passes of open-horizon over the data")
    learning_rate: NonNegativeFloat = Field(default=0.0, description="of the other parameters in open-horizon")
    posterior: PosteriorOptions = PosteriorOptions(scales="fixed")


class SparseMethod(Settings):
    """Independent normal weights of which many are zero, by variational inference."""

    kind: Literal["sparse-variational"] = "sparse-variational"
    density: float = Field(default=0.5, gt=0, le=1, description="fraction of the weights that are active")
    steps: PositiveInt = 2000
    every: PositiveInt = Field(default=100, description="steps between two changes of the active weights")
    exchanged: float = Field(default=0.3, ge=0, lt=1, description="first fraction that is exchanged; it falls to zero")
    fixed_after: float = Field(default=0.75, gt=0, le=1, description="part of the steps after which nothing changes")
    criterion: Literal["signal-to-noise", "size"] = "signal-to-noise"
    learning_rate: PositiveFloat = 1e-3
    start_std: PositiveFloat = 6e-4
    temperature: PositiveFloat = 1.0
    draws: PositiveInt = Field(default=16, description="members of the ensemble")
    posterior: PosteriorOptions = PosteriorOptions(scales="fixed", batch_size=5)


MethodSettings = Annotated[
    EnsembleMethod
    | LLPRMethod
    | LaplaceMethod
    | LatentDistanceMethod
    | SgMcmcMethod
    | SwagMethod
    | AbnnMethod
    | SequentialMethod
    | SparseMethod,
    Field(discriminator="kind"),
]
"""One of the methods, told apart by ``kind``."""

MapName = Literal["nll", "mae", "crps", "ratio", "finite-committee", "power-law", "isotonic"]
CalibrationTarget = Literal["forces", "energy"]


class CalibrationSettings(Settings):
    """How deviations are scaled to errors on calibration frames.

    ``nll``, ``mae``, ``crps``, ``ratio`` and ``finite-committee`` give one factor for energies, forces and stress;
    ``power-law`` and ``isotonic`` a curve for forces alone, which methods that only score need. See
    :func:`simkit.uncertainty.calibration_fits.fit_map`.
    """

    map: MapName | None = Field(default=None, description="nll by default; power-law for methods that only score")
    target: CalibrationTarget | None = Field(
        default=None, description="whose errors give the map; by default the forces, where they are labelled"
    )


class ConformalSettings(Settings):
    """Intervals that hold a promised share of frames like those of the calibration; see
    :class:`simkit.uncertainty.conformal_potential.Conformal`.
    """

    over_atoms: Literal["max", "quantile", "sample"] = Field(
        default="max", description="what the promise is about: all atoms of a frame, 95 % of them, or one at random"
    )
    unit: Literal["frame", "trajectory"] = Field(default="frame", description="what is exchangeable with new data")
    by_element: bool = Field(default=False, description="quantiles of each element's own, where 50 frames have it")
