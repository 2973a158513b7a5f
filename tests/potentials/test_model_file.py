from __future__ import annotations

import ast
import inspect
import json
import re
import sys
import textwrap
from collections.abc import Callable
from importlib import import_module
from pathlib import Path
from types import SimpleNamespace
from typing import Any, ClassVar

import pytest
import torch
from ase.build import molecule
from safetensors.torch import load_file, save_file
from torch import nn

import simkit
import simkit.potentials
import simkit.uncertainty
from simkit import System, evaluate
from simkit.errors import ModelFileError, SimkitError
from simkit.graph import Graph
from simkit.potential import AtomicOutput, Capabilities, Potential
from simkit.potentials import catalogue
from simkit.potentials.catalogue import CATALOGUE, build, potential_class
from simkit.potentials.element_shift import ElementShift
from simkit.potentials.elements import ElementIndex, ReferenceEnergies
from simkit.potentials.lennard_jones import LennardJones
from simkit.potentials.model_file import describe, load_model, read_header, save_model
from simkit.potentials.one_head import OneHead
from simkit.potentials.sum import Sum
from simkit.potentials.upgrades import FORMAT_VERSION, UPGRADES, upgrade


class Learned(Potential):
    """A potential with parameters, exact constants and reference energies of two levels of theory."""

    kind: ClassVar[str] = "test-learned"

    def __init__(self, elements: list[int], width: int = 3, heads: tuple[str, ...] = ("low", "high")) -> None:
        super().__init__(Capabilities(4.0, 4.0, tuple(elements), citations=("A. Author, J. Tests 1, 1 (2024)",)))
        self.arguments = {"elements": list(elements), "width": width, "heads": list(heads)}
        self.index = ElementIndex(elements)
        self.reference = ReferenceEnergies([[-1000.123456789 - h] * len(elements) for h in range(len(heads))])
        self.weight = nn.Parameter(torch.randn(width))
        self.register_buffer("counter", torch.tensor(7))
        self.register_buffer("constant", torch.tensor(1 / 3), persistent=False)

    def forward(self, graph: Graph) -> AtomicOutput:
        system = graph.system
        head = 0 if system.head is None else system.head[system.batch]
        r2 = graph.vectors.square().sum(1)
        pair = self.constant * self.weight.sum() * (1 - r2 / 16).clamp(min=0) ** 3
        sums = pair.new_zeros(system.n_atoms).index_add(0, graph.centre, pair)
        return AtomicOutput(self.reference(self.index(system.numbers), head) + sums)

    def config(self) -> dict[str, Any]:
        return self.arguments


@pytest.fixture(autouse=True)
def learned_in_catalogue(monkeypatch):
    monkeypatch.setattr(catalogue, "CATALOGUE", {**CATALOGUE, "test-learned": f"{__name__}:Learned"})
    monkeypatch.setattr(catalogue, "import_module", _import)


def _import(name: str):
    import importlib

    return SimpleNamespace(Learned=Learned) if name == __name__ else importlib.import_module(name)


@pytest.fixture
def ethanol() -> System:
    return System.from_ase(molecule("CH3CH2OH"))


@pytest.fixture
def learned() -> Learned:
    return Learned([1, 6, 8])


def test_round_trip_is_exact(tmp_path, learned, ethanol):
    save_model(tmp_path / "a.simkit", learned)
    loaded = load_model(tmp_path / "a.simkit")
    assert type(loaded) is Learned
    assert loaded.config() == learned.config()
    assert not loaded.training
    assert torch.equal(evaluate(loaded, ethanol).energy, evaluate(learned, ethanol).energy)
    assert loaded.weight.requires_grad


def test_wrappers_nest(tmp_path, learned, ethanol):
    shifted = ElementShift(learned, {"H": 0.5, "C": -0.25, "O": 0.125})
    total = Sum(shifted, LennardJones(0.01, 3.0, 6.0))
    save_model(tmp_path / "a.simkit", total)
    loaded = load_model(tmp_path / "a.simkit")
    assert loaded.specification() == total.specification()
    assert torch.equal(evaluate(loaded, ethanol).forces, evaluate(total, ethanol).forces)


def test_header_says_what_the_file_is(tmp_path, learned):
    metadata = {
        "metrics": {"forces_mae": {"value": 21.5, "unit": "meV/Å"}},
        "training": {"data": "ethanol.xyz", "sha256": "ab" * 32, "settings": {"epochs": 3}},
    }
    save_model(tmp_path / "a.simkit", learned, metadata=metadata)
    header = read_header(tmp_path / "a.simkit")
    assert header["format_version"] == FORMAT_VERSION
    assert header["potential"] == {"kind": "test-learned", "config": learned.config()}
    assert header["elements"] == ["H", "C", "O"]
    assert header["dtype"] == "float64"
    assert header["units"]["forces"] == "eV/Å"
    assert header["units"]["positions"] == "Å"
    assert header["metrics"] == metadata["metrics"]
    assert header["provenance"]["training"] == metadata["training"]
    assert header["provenance"]["simkit_version"] == simkit.__version__
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\+00:00", header["provenance"]["created"])
    assert header["citations"] == ["A. Author, J. Tests 1, 1 (2024)"]
    facts = describe(tmp_path / "a.simkit")
    assert facts["file_format"] == "simkit"
    assert facts["numbers_stored"] == 3 + 1 + 2 * 3  # weights, counter, reference energies
    assert facts["bytes"] == (tmp_path / "a.simkit").stat().st_size
    json.dumps(facts)


def test_precision_is_kept_and_converted(tmp_path, learned):
    save_model(tmp_path / "double.simkit", learned)
    save_model(tmp_path / "single.simkit", Learned([1, 6, 8]).float())
    single = load_model(tmp_path / "single.simkit")
    assert single.weight.dtype == torch.float32
    assert single.reference.values.dtype == torch.float64
    narrowed = load_model(tmp_path / "double.simkit", dtype=torch.float32)
    assert torch.equal(narrowed.weight, learned.weight.float())
    assert torch.equal(narrowed.reference.values, learned.reference.values)
    assert narrowed.counter.dtype == torch.int64
    widened = load_model(tmp_path / "single.simkit", dtype=torch.float64)
    assert torch.equal(widened.weight, single.weight.double())
    assert widened.constant.item() == 1 / 3  # not that of the float32 file
    torch.set_default_dtype(torch.float32)
    assert load_model(tmp_path / "double.simkit").constant.item() == 1 / 3
    assert torch.get_default_dtype() == torch.float32


def test_head_is_fixed(tmp_path, learned, ethanol):
    save_model(tmp_path / "a.simkit", learned)
    low, high = (load_model(tmp_path / "a.simkit", head=name) for name in ("low", "high"))
    difference = evaluate(high, ethanol).energy - evaluate(low, ethanol).energy
    torch.testing.assert_close(difference, torch.tensor([-9.0]), atol=1e-9, rtol=0)
    save_model(tmp_path / "b.simkit", high)
    again = load_model(tmp_path / "b.simkit")
    assert type(again) is OneHead
    assert torch.equal(evaluate(again, ethanol).energy, evaluate(high, ethanol).energy)
    with pytest.raises(SimkitError, match="no head 'medium': its heads are low, high"):
        load_model(tmp_path / "a.simkit", head="medium")
    save_model(tmp_path / "c.simkit", LennardJones(0.01, 3.0, 6.0))
    with pytest.raises(SimkitError, match="a single level of theory"):
        load_model(tmp_path / "c.simkit", head="low")


def test_wrapped_configurations_are_complete_too(tmp_path, learned):
    save_model(tmp_path / "a.simkit", Sum(learned, LennardJones(0.01, 3.0, 6.0)))

    def without_heads(header, tensors):
        del header["potential"]["config"]["terms"][0]["config"]["heads"]

    with pytest.raises(ModelFileError, match="the config of the 'test-learned' potential lacks heads"):
        load_model(edited(tmp_path / "a.simkit", without_heads))


def test_every_config_names_all_arguments():
    """What a file lacks is found by comparison with ``config()``, which must therefore leave nothing out."""
    inside = {kind for kind, home in CATALOGUE.items() if home.startswith("simkit.potentials.")}
    for kind in inside - {"sum", "one-head"}:
        arguments = set(inspect.signature(potential_class(kind)).parameters)
        config = ast.parse(textwrap.dedent(inspect.getsource(potential_class(kind).config)))
        if kind == "mace":
            assert set(potential_class(kind)(elements=[1], hidden_irreps="2x0e").config()) == arguments
            continue
        (value,) = [node.value for node in ast.walk(config) if isinstance(node, ast.Return)]
        assert isinstance(value, ast.Dict)
        assert {ast.literal_eval(key) for key in value.keys} == arguments


class Private(Learned):
    kind: ClassVar[str] = "test-private"


def test_kinds_of_ones_own_are_given(tmp_path, ethanol):
    total = Sum(Private([1, 6, 8]), LennardJones(0.01, 3.0, 6.0))
    save_model(tmp_path / "a.simkit", total)
    with pytest.raises(ModelFileError, match=r"no kind of potential called 'test-private'.* given by kinds=\{"):
        load_model(tmp_path / "a.simkit")
    loaded = load_model(tmp_path / "a.simkit", kinds={"test-private": Private})
    assert type(loaded.terms[0]) is Private
    assert torch.equal(evaluate(loaded, ethanol).energy, evaluate(total, ethanol).energy)


def test_installed_packages_offer_kinds(tmp_path, monkeypatch, ethanol):
    save_model(tmp_path / "a.simkit", Private([1, 6, 8]))
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.setitem(sys.modules, "private_package", SimpleNamespace(Private=Private, Learned=Learned))
    package = tmp_path / "private_package-1.0.dist-info"
    package.mkdir()
    (package / "METADATA").write_text("Metadata-Version: 2.1\nName: private-package\nVersion: 1.0\n")
    (package / "entry_points.txt").write_text("[simkit.potentials]\ntest-private = private_package:Private\n")
    assert type(load_model(tmp_path / "a.simkit")) is Private
    (package / "entry_points.txt").write_text("[simkit.potentials]\ntest-private = private_package:Learned\n")
    with pytest.raises(ModelFileError, match="should be a Potential class whose kind is 'test-private', found"):
        load_model(tmp_path / "a.simkit")


def test_interrupted_writing_leaves_the_old_file(tmp_path, learned, monkeypatch):
    path = tmp_path / "a.simkit"
    save_model(path, learned)
    before = path.read_bytes()

    def fail(tensors, target, metadata):
        Path(target).write_bytes(b"half a file")
        raise KeyboardInterrupt

    monkeypatch.setattr("simkit.potentials.model_file.save_file", fail)
    with pytest.raises(KeyboardInterrupt):
        save_model(path, Learned([1]))
    assert path.read_bytes() == before
    assert [item.name for item in tmp_path.iterdir()] == ["a.simkit"]


@pytest.mark.parametrize("metadata", [{"metrics": float("nan")}, {"training": object()}])
def test_metadata_that_is_not_json_is_refused(tmp_path, learned, metadata):
    with pytest.raises(ModelFileError, match="cannot be written as JSON"):
        save_model(tmp_path / "a.simkit", learned, metadata=metadata)
    assert list(tmp_path.iterdir()) == []


def edited(path: Path, change: Callable[[dict[str, Any], dict[str, torch.Tensor]], None]) -> Path:
    """A copy of a model file after a change of its header and tensors."""
    header, tensors = read_header(path), load_file(path)
    change(header, tensors)
    save_file(tensors, path.with_name("edited"), {"simkit": json.dumps(header)})
    return path.with_name("edited")


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda h, t: h["potential"].update(kind="mcae"), "no kind of potential called 'mcae'. Did you mean 'mace'"),
        (lambda h, t: h["potential"].update(kind=["x"]), "as text and its config as a mapping"),
        (lambda h, t: h["potential"]["config"].update(depth=3), "cannot be built from the given config .*depth"),
        (lambda h, t: h["potential"]["config"].pop("elements"), "cannot be built from the given config .*elements"),
        (lambda h, t: h["potential"]["config"].pop("width"), "the config of the 'test-learned' potential lacks width"),
        (lambda h, t: h["potential"].update(config=3), "its config as a mapping"),
        (lambda h, t: h["potential"].update(path="x"), "expected a potential as"),
        (lambda h, t: h["potential"]["config"].update(width=4), r"tensor weight: expected .*\(4,\), found .*\(3,\)"),
        (lambda h, t: t.pop("weight"), "it lacks weight"),
        (lambda h, t: t.update(bias=torch.zeros(1)), "it also has bias"),
        (lambda h, t: t.update(weight=torch.zeros(3, dtype=torch.int64)), "expected float64 .*found int64"),
        (lambda h, t: h.update(format_version=FORMAT_VERSION + 1), "Upgrade it: pip install"),
        (lambda h, t: h.update(format_version="1"), "expected a format version"),
        (lambda h, t: h.update(format_version=0), "expected a format version"),
        (lambda h, t: h.pop("units"), "lacks units"),
        (lambda h, t: h.update(elements="H"), "lacks elements"),
        (lambda h, t: h.update(dtype="load"), "expected a floating-point type"),
        (lambda h, t: h.update(dtype="int64"), "expected a floating-point type"),
    ],
)
def test_edited_file_is_refused(tmp_path, learned, change, message):
    save_model(tmp_path / "a.simkit", learned)
    with pytest.raises(ModelFileError, match=f"^edited.*{message}"):
        load_model(edited(tmp_path / "a.simkit", change))


@pytest.mark.parametrize("kept", [0, 4, 8, 20, 300, -1])
def test_truncated_file_is_refused(tmp_path, learned, kept):
    save_model(tmp_path / "a.simkit", learned)
    whole = (tmp_path / "a.simkit").read_bytes()
    (tmp_path / "cut.simkit").write_bytes(whole[:kept])
    with pytest.raises(ModelFileError, match=r"cut\.simkit is (damaged or incomplete|no model file)"):
        load_model(tmp_path / "cut.simkit")
    with pytest.raises(ModelFileError):
        describe(tmp_path / "cut.simkit")


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "it is empty"),
        (b"<!DOCTYPE html><html>404</html>", "web page"),
        (b"version https://git-lfs.github.com/spec/v1\noid sha256:00\n", "git lfs pull"),
        (b"\x80\x04\x95\x10\x00\x00\x00\x00\x00\x00\x00\x8c\x05posix\x94.", "bare pickle"),
        (b"\x80\x02\x8a\nl\xfc\x9cF\xf9 j\xa8P\x19.\x80\x02", "before PyTorch 1.6"),
        (b"9\nlattice\nH 0 0 0\n", "expected a simkit model file"),
    ],
)
def test_other_files_are_named(tmp_path, content, message):
    (tmp_path / "a.simkit").write_bytes(content)
    with pytest.raises(ModelFileError, match=message):
        load_model(tmp_path / "a.simkit")


def test_missing_files_and_folders(tmp_path):
    with pytest.raises(ModelFileError, match="there is no model file"):
        load_model(tmp_path / "a.simkit")
    with pytest.raises(ModelFileError, match="cannot be read"):
        load_model(tmp_path)


@pytest.mark.parametrize(
    "metadata", [None, {"format": "pt"}, {"simkit": "[1]"}, {"simkit": "{"}, {"simkit": "[" * 10**5}]
)
def test_safetensors_without_a_header_of_simkit(tmp_path, metadata):
    save_file({"weight": torch.zeros(2)}, tmp_path / "a.safetensors", metadata)
    with pytest.raises(ModelFileError, match=r"not one of simkit|JSON object|damaged"):
        load_model(tmp_path / "a.safetensors")


def test_upgrades_run_in_order_from_the_version_of_the_file():
    def kinds_are_lower_case(header):
        return header | {"kind": header["kind"].lower()}

    def kind_is_called_name(header):
        return {"name": header["kind"], **{key: value for key, value in header.items() if key != "kind"}}

    steps = (kinds_are_lower_case, kind_is_called_name)
    assert upgrade({"format_version": 1, "kind": "MACE"}, "f", steps) == {"format_version": 3, "name": "mace"}
    assert upgrade({"format_version": 2, "kind": "MACE"}, "f", steps) == {"format_version": 3, "name": "MACE"}
    assert upgrade({"format_version": 3, "name": "MACE"}, "f", steps) == {"format_version": 3, "name": "MACE"}
    with pytest.raises(ModelFileError, match="format version 4; this simkit reads versions up to 3"):
        upgrade({"format_version": 4}, "f", steps)
    assert len(UPGRADES) + 1 == FORMAT_VERSION


def test_catalogue_lists_every_potential():
    """The kinds are read from the sources, so that a new potential cannot be forgotten."""
    found = {}
    homes = [Path(package.__file__).parent for package in (simkit.potentials, simkit.uncertainty)]
    for home, path in [(folder, path) for folder in homes for path in folder.rglob("*.py")]:
        module = f"simkit.{home.name}." + ".".join(path.relative_to(home).with_suffix("").parts)
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.ClassDef):
                for item in node.body:
                    if (
                        isinstance(item, ast.AnnAssign)
                        and ast.unparse(item.target) == "kind"
                        and "ClassVar" in ast.unparse(item.annotation)
                        and item.value is not None
                    ):
                        found[ast.literal_eval(item.value)] = (module, node.name)
    classes = {kind: getattr(import_module(module), name) for kind, (module, name) in found.items()}
    not_saved = {"splined-mace", "side-by-side", "calculator"}
    kinds = {kind for kind, cls in classes.items() if issubclass(cls, Potential)}
    assert set(CATALOGUE) == kinds - not_saved
    assert not_saved < kinds
    for kind in CATALOGUE:
        (module, name), cls = found[kind], potential_class(kind)
        assert (cls.kind, cls.__name__) == (kind, name)
        assert cls.__module__ == module


def test_build_names_the_wrapped_kind_that_is_unknown():
    specification = {"kind": "sum", "config": {"terms": [{"kind": "lenard-jones", "config": {}}]}}
    with pytest.raises(ModelFileError, match=r"'lenard-jones'\. Did you mean 'lennard-jones'"):
        build(specification)
