import pytest

from simkit.errors import WorkflowError
from simkit.workflow.kinds import load_class
from simkit.workflow.machine import machine_schema
from simkit.workflow.schema import read_workflow, workflow_schema

GOOD = """
name: demo
seed: 3
steps:
  a: {kind: number, value: 1e-3}
  total:
    kind: add
    terms: [$a/number.txt]
    training:
      epochs: 2
    shape:
      form: linear
      slope: 2
"""


def test_a_good_file(write, kinds):
    workflow = read_workflow(write(GOOD), kinds=kinds)
    assert (workflow.name, workflow.seed) == ("demo", 3)
    assert workflow.kinds == {"a": "number", "total": "add"}
    assert workflow.steps["a"].value == 1e-3
    assert workflow.steps["total"].shape.slope == 2


def test_settings_and_seed_replace_those_of_the_file(write, kinds):
    settings = ["steps.total.training.epochs=5", "steps.a.value=2"]
    workflow = read_workflow(write(GOOD), kinds=kinds, settings=settings, seed=9)
    assert workflow.steps["total"].training.epochs == 5
    assert workflow.steps["a"].value == 2
    assert workflow.seed == 9


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (
            ("epochs: 2", "epoch: 2"),
            r"flow.yaml, line 10: steps.total.training.epoch: unknown key; did you mean 'epochs'\?",
        ),
        (("epochs: 2", "rates: []"), r"line 9: steps.total.training: expected a rate$"),
        (("epochs: 2", "epochs: 0"), r"line 10: steps.total.training.epochs: expected a value greater than 0, found 0"),
        (("epochs: 2", "epochs: many"), r"line 10: .*epochs: expected an integer, .*found 'many'"),
        (
            ("form: linear", "form: linaer"),
            r"line 11: steps.total.shape: form: unknown value 'linaer'; did you mean 'linear'\?",
        ),
        (("form: linear", ""), r"line 11: steps.total.shape: expected the key 'form', which chooses"),
        (("slope: 2", "slop: 2"), r"line 13: steps.total.shape.slop: unknown key; did you mean 'slope'\?"),
        (("slope: 2", ""), r"line 11: steps.total.shape.slope: this key is required and missing"),
        (("[$a/number.txt]", "$a/number.txt"), r"line 8: steps.total.terms: expected a list, found '\$a/number.txt'"),
        (("seed: 3", "seed: -3"), r"line 3: seed: expected a value greater than or equal to 0, found -3"),
        (("seed: 3", "sed: 3"), r"line 3: sed: unknown key; did you mean 'seed'\?"),
        (("name: demo", ""), r"flow.yaml: name: this key is required and missing"),
        (("name: demo", "name: a/b"), r"line 2: name: expected a text of the form .*, found 'a/b'"),
        (("kind: add", "kind: ad"), r"line 7: steps.total.kind: unknown kind 'ad'; did you mean 'add'\?"),
        (("kind: add", "kind: 3"), r"line 7: steps.total.kind: unknown kind 3; expected one of"),
        (("kind: add", ""), r"line 6: steps.total.kind: this key is required and missing; expected one of number, add"),
        (("value: 1e-3", "value: no"), r"line 5: steps.a.value: expected a number, .* found 'no'"),
        (("{kind: number, value: 1e-3}", ""), r"line 5: steps.a: expected a mapping \(key: value\), found nothing"),
        (("  a:", "  a b:"), r"line 5: steps.a b: expected a text of the form"),
    ],
)
def test_messages(write, kinds, change, message):
    with pytest.raises(WorkflowError, match=message):
        read_workflow(write(GOOD.replace(*change)), kinds=kinds)


def test_all_problems_are_told_at_once(write, kinds):
    text = GOOD.replace("epochs: 2", "epoch: 2\n      rates: [1, x]").replace("value: 1e-3", "values: 1")
    with pytest.raises(WorkflowError) as caught:
        read_workflow(write(text), kinds=kinds)
    lines = str(caught.value).splitlines()
    assert len(lines) == 3
    assert "steps.a.values: unknown key; did you mean 'value'?" in lines[0]
    assert "steps.total.training.rates[1]: expected a number" in lines[1]
    assert "steps.total.training.epoch: unknown key" in lines[2]


@pytest.mark.parametrize(
    ("setting", "message"),
    [
        ("steps.total.training.epoch=2", r"flow.yaml, --set steps.total.training.epoch: .*did you mean 'epochs'"),
        ("steps.totl.training.epochs=2", r"--set .*: no step is called 'totl'; did you mean 'total'\?"),
        ("steps.total.epochs=2", r"--set steps.total.epochs: .*unknown key; did you mean 'training.epochs'\?"),
        ("sead=2", r"--set sead=2: unknown key 'sead'; did you mean 'seed'\?"),
        ("steps.total.training.epochs=[]", r"--set steps.total.training.epochs: .*expected an integer, found \[\]"),
    ],
)
def test_wrong_settings_from_the_command_line(write, kinds, setting, message):
    with pytest.raises(WorkflowError, match=message):
        read_workflow(write(GOOD), kinds=kinds, settings=[setting])


def test_only_the_modules_of_used_kinds_are_imported(write, kinds):
    workflow = read_workflow(write(GOOD), kinds={**kinds, "absent": "no.such.module:Class"})
    assert set(workflow.steps) == {"a", "total"}


def test_a_kind_that_is_no_step_is_refused():
    with pytest.raises(TypeError, match="to be a Step class"):
        load_class("pathlib:Path")


def test_json_schema_describes_the_steps(kinds):
    schema = workflow_schema(kinds)
    (steps,) = schema["properties"]["steps"]["patternProperties"].values()
    assert set(steps["discriminator"]["mapping"]) == set(kinds)
    add = schema["$defs"]["Add"]
    assert add["additionalProperties"] is False
    assert add["properties"]["kind"]["const"] == "add"
    assert set(add["required"]) == {"kind", "terms"}
    assert schema["additionalProperties"] is False


def test_json_schema_of_one_kind():
    schema = workflow_schema({"number": "simkit_toys:Number"})
    assert schema["$defs"]["Number"]["properties"]["kind"]["const"] == "number"


def test_json_schema_of_machines():
    assert set(machine_schema()["discriminator"]["mapping"]) == {
        "serial", "processes", "parsl", "dask", "executorlib", "submitit",
    }  # fmt: skip


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("name: a\nsteps: {}\n", r"line 2: steps: expected at least 1, found 0"),
        (
            "name: a\nseed: 9223372036854775808\nsteps: {f: {kind: report, results: []}}\n",
            r"line 2: seed: .* less than",
        ),
        (
            "name: a\nsteps: {f: {kind: label, molecule: H2O, labeller: emtt}}\n",
            r"labeller: expected 'gfn2-xtb', .*'emtt'",
        ),
        (
            "name: a\nsteps: {f: {kind: label, molecule: H2O, timestep: .inf}}\n",
            r"timestep: expected a finite number, found inf",
        ),
        (
            "name: a\nsteps: {f: {kind: train, data: x, reference_energies: {H: .nan}}}\n",
            r"reference_energies.H: expected a finite number, found nan",
        ),
        (
            "name: a\nsteps: {f: {kind: md, model: m, structure: s, timestep: 50}}\n",
            r"line 2: steps.f: expected a time step of at most 20 fs, found 50 fs",
        ),
        (
            "name: a\nsteps: {f: {kind: md, model: m, structure: s, pressure: [0, 1]}}\n",
            r"a pressure \(1 GPa\) needs a cell that may change, and langevin keeps it",
        ),
        (
            "name: a\nsteps: {f: {kind: md, model: m, structure: s, friction: [1, 2], temperature: [1, 2, 3]}}\n",
            r"as many numbers in each setting that has several, found temperature: 3, friction: 2",
        ),
        (
            "name: a\nsteps: {f: {kind: relax, model: m, structures: s, pressure: 1}}\n",
            r"a pressure needs a cell that may change: set relax_cell: true",
        ),
    ],
)
def test_values_out_of_bounds(write, text, message):
    with pytest.raises(WorkflowError, match=message):
        read_workflow(write(text))
