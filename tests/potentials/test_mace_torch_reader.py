from __future__ import annotations

import collections
import io
import lzma
import os
import pickle
import sys
import zipfile
from pathlib import Path

import numpy as np
import pytest
import torch
from ase import Atoms

from simkit import System, evaluate
from simkit.errors import ModelFileError
from simkit.potentials.mace import MACE
from simkit.potentials.mace.couplings import full_couplings, polynomial_coefficients
from simkit.potentials.mace_torch import read_mace_torch
from simkit.potentials.mace_torch.archive import read_archive
from simkit.potentials.mace_torch.objects import Module
from simkit.potentials.mace_torch.translation import in_other_couplings
from simkit.potentials.model_file import describe, load_model, read_header, save_model
from simkit.potentials.restricted_pickle import Inert

DATA = Path(__file__).parents[1] / "data" / "mace_torch"
VARIANTS = sorted(path.stem for path in DATA.glob("*.npz"))
STRUCTURES = ("ethanol", "crystal", "close_pair", "atom")


@pytest.fixture(scope="session")
def unpacked(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("mace_torch")
    for path in DATA.glob("*.model.xz"):
        (folder / path.stem).write_bytes(lzma.decompress(path.read_bytes()))
    return folder


def structure(reference, name: str) -> System:
    numbers, positions, cell, pbc = (reference[f"{name}/{key}"] for key in ("numbers", "positions", "cell", "pbc"))
    return System.from_ase(Atoms(numbers, positions, cell=cell, pbc=pbc))


def require_equal(potential: MACE, system: System, reference, prefix: str, energy: float, forces: float) -> None:
    outputs = ("energies", "forces", "stress") if f"{prefix}/stress" in reference else ("energies", "forces")
    found = evaluate(potential, system, outputs=outputs)
    for name, atol in (("energy", energy), ("energies", energy), ("forces", forces), ("stress", forces)):
        if f"{prefix}/{name}" in reference:
            value = getattr(found, name)
            expected = torch.as_tensor(reference[f"{prefix}/{name}"]).reshape(value.shape)
            torch.testing.assert_close(value, expected, atol=atol, rtol=0, msg=lambda text, n=name: f"{n}: {text}")


def test_all_variants_are_there():
    assert VARIANTS == ["agnostic_first", "density", "float32", "heads", "nonlinear", "residual", "three_layers"]


@pytest.mark.parametrize("name", STRUCTURES)
@pytest.mark.parametrize("variant", [variant for variant in VARIANTS if variant != "heads"])
def test_same_results_as_mace_torch(unpacked, variant, name):
    """In float64; the couplings of the float32 model are rounded, as stored."""
    reference = np.load(DATA / f"{variant}.npz")
    potential = read_mace_torch(unpacked / f"{variant}.model", dtype=torch.float64)
    require_equal(potential, structure(reference, name), reference, name, 1e-9, 1e-8)


@pytest.mark.parametrize("head", ["dft", "coupled_cluster"])
def test_every_head_gives_its_own_results(unpacked, head):
    reference = np.load(DATA / "heads.npz")
    potential = read_mace_torch(unpacked / "heads.model", head=head)
    for name in STRUCTURES:
        require_equal(potential, structure(reference, name), reference, f"{head}/{name}", 1e-9, 1e-8)


def test_head_must_be_chosen(unpacked):
    with pytest.raises(ModelFileError, match="several levels of theory: dft, coupled_cluster"):
        load_model(unpacked / "heads.model")
    with pytest.raises(ModelFileError, match="no head 'pbe'; the heads of this model are dft, coupled_cluster"):
        load_model(unpacked / "heads.model", head="pbe")


def test_float32_model_in_its_own_precision(unpacked):
    reference = np.load(DATA / "float32.npz")
    potential = read_mace_torch(unpacked / "float32.model")
    assert potential.dtype == torch.float32
    found = evaluate(potential, structure(reference, "ethanol").to(dtype=torch.float32))
    torch.testing.assert_close(found.energy.double(), torch.as_tensor(reference["ethanol/energy"]), atol=2e-5, rtol=0)
    torch.testing.assert_close(found.forces.double(), torch.as_tensor(reference["ethanol/forces"]), atol=2e-5, rtol=0)


@pytest.mark.parametrize("variant", ["nonlinear", "density", "agnostic_first"])
def test_saved_as_own_file_and_read_again(unpacked, tmp_path, variant):
    reference = np.load(DATA / f"{variant}.npz")
    potential = load_model(unpacked / f"{variant}.model")
    save_model(tmp_path / "a.simkit", potential)
    again = load_model(tmp_path / "a.simkit")
    assert again.specification() == potential.specification()
    system = structure(reference, "crystal")
    assert torch.equal(evaluate(again, system).forces, evaluate(potential, system).forces)


def test_float32_couplings_survive_the_own_file(unpacked, tmp_path):
    reference = np.load(DATA / "float32.npz")
    save_model(tmp_path / "a.simkit", read_mace_torch(unpacked / "float32.model", dtype=torch.float64))
    require_equal(load_model(tmp_path / "a.simkit"), structure(reference, "ethanol"), reference, "ethanol", 1e-9, 1e-8)


def test_neither_mace_nor_files_of_it_are_imported(unpacked):
    read_mace_torch(unpacked / "residual.model")
    assert not [name for name in sys.modules if name.split(".")[0] in ("mace", "cuequivariance")]


def test_describe(unpacked):
    facts = describe(unpacked / "heads.model")
    assert facts["file_format"] == "mace-torch"
    assert facts["elements"] == ["H", "C", "O"]
    assert facts["potential"]["config"]["heads"] == ["dft", "coupled_cluster"]
    assert facts["potential"]["config"]["hidden_irreps"] == "2x0e+2x1o"
    assert facts["dtype"] == "float64"
    with pytest.raises(ModelFileError, match="not a simkit model file but one of mace-torch"):
        read_header(unpacked / "heads.model")


def test_reduced_couplings_become_full_ones():
    """Weights of fewer, linearly independent couplings are turned into weights of all couplings."""
    full = polynomial_coefficients(full_couplings(2, 3, 1))
    _, _, rows = torch.linalg.svd(full.flatten(1), full_matrices=False)
    rank = int(torch.linalg.matrix_rank(full.flatten(1)))
    assert rank < full.shape[0]
    reduced = (torch.randn(rank, rank) @ rows[:rank]).view(rank, *full.shape[1:])
    weights = torch.randn(3, rank, 2)
    changed = in_other_couplings(weights, reduced, full)
    polynomials = [torch.einsum("zkc,k...->zc...", w, c) for w, c in ((weights, reduced), (changed, full))]
    torch.testing.assert_close(*polynomials, atol=1e-10, rtol=0)
    with pytest.raises(ModelFileError, match="couplings that simkit's MACE does not have"):
        in_other_couplings(weights, torch.randn_like(reduced), full)


class Stand:
    """Pickled under any name of a class, as a PyTorch module with the given attributes."""

    def __init__(self, source: str, modules=None, **attributes):
        self.source = source
        self.attributes = {"_parameters": {}, "_buffers": {}, "_modules": modules or {}, **attributes}


class Writer(pickle._Pickler):
    """Writes objects that the reader's own unpickler gave, or :class:`Stand`, as mace-torch would have."""

    def save(self, value, *arguments, **keywords):
        if isinstance(value, Stand):
            module, _, name = value.source.rpartition(".")
            self.write(b"c" + f"{module}\n{name}\n".encode() + b")\x81")
            super().save(value.attributes)
            self.write(b"b")
        else:
            super().save(value, *arguments, **keywords)


def write_archive(path: Path, content: object, compression: int = zipfile.ZIP_STORED, **records: bytes) -> Path:
    stream = io.BytesIO()
    Writer(stream, 2).dump(content)
    with zipfile.ZipFile(path, "w", compression) as archive:
        archive.writestr("archive/data.pkl", stream.getvalue())
        for name, data in records.items():
            archive.writestr(f"archive/{name.replace('__', '/')}", data)
    return path


def model(source: str, modules=None, **attributes) -> Stand:
    block = Stand("mace.modules.blocks.RealAgnosticResidualInteractionBlock", **attributes.pop("block", {}))
    children = {"interactions": Stand("torch.nn.modules.container.ModuleList", {"0": block}), **(modules or {})}
    return Stand(source, children, **attributes)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (model("mace.modules.models.EnergyDipolesMACE"), "class mace.modules.models.EnergyDipolesMACE"),
        (model("mace.modules.extensions.MACELES"), "class mace.modules.extensions.MACELES"),
        (model("mace.calculators.lammps_mace.LAMMPS_MACE"), "class mace.calculators.lammps_mace.LAMMPS_MACE"),
        (model("schnetpack.model.NeuralNetworkPotential"), "Supported are MACE and ScaleShiftMACE"),
        (
            model("mace.modules.models.MACE", block={"cueq_config": Stand("m.C", enabled=True)}),
            "Convert the model first with: mace_cueq_to_e3nn",
        ),
        (model("mace.modules.models.MACE", use_so3=True), "the option use_so3"),
        (
            model("mace.modules.models.MACE", {"joint_embedding": Stand("m.J")}, embedding_specs={"total_charge": {}}),
            "embeddings of further inputs .total_charge",
        ),
        (model("mace.modules.models.MACE"), "has no 'products'"),
        (Stand("mace.modules.models.MACE"), "has no 'interactions'"),
        ({"model": {}, "optimizer": {}, "lr_scheduler": {}}, "training checkpoint"),
        (collections.OrderedDict(), "holds a dictionary, not a model"),
        ([1, 2, 3], "holds no model of mace-torch: .* found list"),
    ],
)
def test_unsupported_content_is_named(tmp_path, content, message):
    with pytest.raises(ModelFileError, match=message):
        load_model(write_archive(tmp_path / "a.model", content))


def test_state_dict_and_whole_foreign_model(tmp_path):
    torch.save(torch.nn.Linear(2, 2).state_dict(), tmp_path / "state.model")
    with pytest.raises(ModelFileError, match="is a state dict"):
        load_model(tmp_path / "state.model")
    torch.save(torch.nn.Linear(2, 2), tmp_path / "linear.model")
    with pytest.raises(ModelFileError, match=r"has no 'interactions'|class torch\.nn\.modules\.linear\.Linear"):
        load_model(tmp_path / "linear.model")


@pytest.mark.parametrize("record", ["constants.pkl", "code__model.py"])
def test_torchscript_is_named(tmp_path, record):
    path = write_archive(tmp_path / "a_compiled.model", [], **{record: b""})
    with pytest.raises(ModelFileError, match=r"is compiled \(TorchScript\).*Give the .model file"):
        load_model(path)


class Bomb:
    def __init__(self, target: Path) -> None:
        self.target = target

    def __reduce__(self):
        return os.system, (f"touch {self.target}",)


def test_bombs_in_a_file_of_torch_do_nothing(tmp_path):
    """One at the root, one beside a tensor, one hidden as an attribute of a module."""
    module = torch.nn.Linear(2, 2)
    module.harmless = Bomb(tmp_path / "ran")
    for content in (Bomb(tmp_path / "ran"), [torch.zeros(3), {"x": Bomb(tmp_path / "ran")}], module):
        torch.save(content, tmp_path / "bomb.model")
        with pytest.raises(ModelFileError, match=r"asks to call 'posix\.system'"):
            load_model(tmp_path / "bomb.model")
    assert not (tmp_path / "ran").exists()


def test_zip_bombs_are_refused(tmp_path):
    path = write_archive(tmp_path / "a.model", [], zipfile.ZIP_DEFLATED, data__0=bytes(10**7))
    assert path.stat().st_size < 50_000
    with pytest.raises(ModelFileError, match="compressed or its records overlap"):
        load_model(path)
    path = write_archive(tmp_path / "b.model", [], **{f"data__{n}": bytes(5_000) for n in range(3)})
    whole = path.read_bytes()
    entry = whole.index(b"PK\x01\x02")  # make every entry of the directory point to one long record
    with zipfile.ZipFile(path) as archive:
        offsets = [info.header_offset for info in archive.infolist() if "data/" in info.filename]
    changed = bytearray(whole[:entry])
    directory = whole[entry:]
    for offset in offsets:
        directory = directory.replace(offset.to_bytes(4, "little") + b"archive/data/", bytes(4) + b"archive/data/")
    directory = directory.replace((5_000).to_bytes(4, "little"), (15_000).to_bytes(4, "little"))
    path.write_bytes(bytes(changed) + directory)
    with pytest.raises(ModelFileError, match="compressed or its records overlap"):
        load_model(path)


class Tensors:
    """Calls PyTorch's function that rebuilds a tensor with any arguments."""

    def __init__(self, *arguments):
        self.arguments = arguments

    def __reduce__(self):
        return torch._utils._rebuild_tensor_v2, self.arguments


class Storage(str):
    """Written as a reference to a record of the archive."""


class StorageWriter(Writer):
    def persistent_id(self, value):
        return ("storage", torch.DoubleStorage, *eval_storage(value)) if type(value) is Storage else None


def eval_storage(text: str) -> tuple[str, str, int]:
    key, count = text.split()
    return key, "cpu", int(count)


@pytest.mark.parametrize(
    ("storage", "offset", "size", "stride", "message"),
    [
        ("0 4", 0, (2, 2), (2, 1), None),
        ("0 4", 0, (10**6, 10**6), (0, 0), "larger than its data"),
        ("0 4", 2, (4,), (1,), "damaged"),
        ("0 4", 0, (2,), (10**12,), "damaged"),
        ("0 4", -1, (2,), (1,), "larger than its data"),
        ("0 99", 0, (2,), (1,), "missing or too short"),
        ("7 4", 0, (2,), (1,), "missing or too short"),
        ("0 -3", 0, (2,), (1,), "damaged|larger"),
    ],
)
def test_tensors_cannot_reach_beyond_their_data(tmp_path, storage, offset, size, stride, message):
    stream = io.BytesIO()
    StorageWriter(stream, 2).dump(Tensors(Storage(storage), offset, size, stride, False, collections.OrderedDict()))
    path = tmp_path / "a.model"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("archive/data.pkl", stream.getvalue())
        archive.writestr("archive/data/0", np.arange(4.0).tobytes())
    if message is None:
        assert torch.equal(read_archive(path), torch.arange(4.0).view(2, 2))
    else:
        with pytest.raises(ModelFileError, match=message):
            read_archive(path)


def test_truncated_at_any_place(unpacked, tmp_path):
    whole = (unpacked / "agnostic_first.model").read_bytes()
    for kept in np.linspace(5, len(whole) - 1, 40).astype(int):
        (tmp_path / "cut.model").write_bytes(whole[:kept])
        with pytest.raises(ModelFileError, match=r"cut\.model"):
            load_model(tmp_path / "cut.model")


def test_flipped_bytes_never_escape_as_other_errors(unpacked, tmp_path):
    """Damage gives a clear error, or a model if it hit bytes that do not matter."""
    whole = (unpacked / "agnostic_first.model").read_bytes()
    place = np.random.default_rng(0)
    refused = 0
    for position in place.integers(0, len(whole), 60):
        changed = bytearray(whole)
        changed[position] ^= 0xFF
        (tmp_path / "flipped.model").write_bytes(bytes(changed))
        try:
            load_model(tmp_path / "flipped.model")
        except ModelFileError:
            refused += 1
    assert refused > 20


def nested(children: dict[str, Inert]) -> Inert:
    module = Inert()
    module.state = {"_parameters": {}, "_buffers": {}, "_modules": children}
    return module


def test_modules_that_contain_one_another_too_often_are_refused():
    """2^60 paths lead to the innermost module; another one contains itself."""
    module = nested({})
    for _ in range(60):
        module = nested({"a": module, "b": module})
    with pytest.raises(ModelFileError, match="without end"):
        Module.of(module).tensors()
    module = nested({})
    for _ in range(40):
        module = nested({"a": module, "b": module})
    with pytest.raises(ModelFileError, match=r"at most \d+ modules"):
        Module.of(module).tensors()
    loop = nested({})
    loop.state["_modules"]["itself"] = loop
    with pytest.raises(ModelFileError, match="without end"):
        Module.of(loop).tensors()
