from pathlib import Path

import pytest

from simkit.errors import WorkflowError
from simkit.workflow.digest import FileDigests, digest_of
from simkit.workflow.graph import ancestors, descendants, ordered, parse_reference

CHAIN = """
name: demo
steps:
  total: {kind: add, terms: [$a/number.txt, $b/number.txt, data/five.txt]}
  b: {kind: number, source: $a/number.txt}
  a: {kind: number, value: 2}
"""


@pytest.fixture
def five(tmp_path):
    (tmp_path / "data").mkdir()
    (tmp_path / "data/five.txt").write_text("5")
    return tmp_path / "data/five.txt"


def addresses(plan):
    return {name: step.address for name, step in plan.steps.items()}


def changed(before, after):
    return {name for name in before if before[name] != after[name]}


def test_order_inputs_and_folders(plan, five, tmp_path):
    planned = plan(CHAIN)
    assert list(planned.steps) == ["a", "b", "total"]
    total, a = planned.steps["total"], planned.steps["a"]
    assert total.needs == {"a", "b"}
    assert total.inputs["$a/number.txt"] == a.folder / "number.txt"
    assert total.inputs["data/five.txt"] == five
    assert a.folder == tmp_path / "runs/demo" / f"a-{a.address[:12]}"
    assert not (tmp_path / "runs").exists()


def test_addresses_do_not_depend_on_notation_or_place(plan, five, write, tmp_path):
    reference = addresses(plan(CHAIN))
    assert addresses(plan(CHAIN.replace("value: 2", "value: 2.0, source: null"))) == reference
    five.rename(tmp_path / "moved.txt")
    assert addresses(plan(CHAIN.replace("data/five.txt", "moved.txt"))) == reference
    renamed = CHAIN.replace("name: demo", "name: other\ndescription: the same")
    assert addresses(plan(renamed.replace("data/five.txt", "moved.txt"))) == reference


def test_addresses_depend_on_what_can_change_a_result(plan, five, monkeypatch):
    reference = addresses(plan(CHAIN))
    assert changed(reference, addresses(plan(CHAIN, seed=1))) == {"a", "b", "total"}
    assert changed(reference, addresses(plan(CHAIN.replace("value: 2", "value: 3")))) == {"a", "b", "total"}
    b_only = CHAIN.replace("source: $a/number.txt", "source: $a/number.txt, value: 1")
    assert changed(reference, addresses(plan(b_only))) == {"b", "total"}
    five.write_text("6")
    assert changed(reference, addresses(plan(CHAIN))) == {"total"}
    five.write_text("5")
    assert addresses(plan(CHAIN)) == reference
    import simkit_toys

    monkeypatch.setattr(simkit_toys.Add, "version", 2)
    assert changed(reference, addresses(plan(CHAIN))) == {"total"}


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (("[$a/", "[$aa/"), r"line 4: steps.total.terms\[0\]: no step is called 'aa'; did you mean 'a'\?"),
        (("$b/number.txt", "$b/numbr.txt"), r"the step 'b' makes no file 'numbr.txt'; did you mean 'number.txt'"),
        (("$b/number.txt", "$/b"), r"steps.total.terms\[1\]: expected a reference such as \$step/file, found '\$/b'"),
        (("data/five", "data/six"), r"terms\[2\]: no such file .*data/six.txt \(paths .* folder of flow.yaml\)"),
        (("$b/number.txt", "b/number.txt"), r"no such file .*; did you mean \$b/number.txt\?"),
        (("value: 2", "source: $total/sum.txt"), r"steps need each other in a circle: .*total"),
        (("value: 2", "source: $a/number.txt"), r"steps need each other in a circle: a -> a"),
    ],
)  # fmt: skip
def test_wrong_references(plan, five, change, message):
    with pytest.raises(WorkflowError, match=message):
        plan(CHAIN.replace(*change))


def test_results_and_logs_of_any_step_can_be_read(plan, five):
    planned = plan(CHAIN.replace("$b/number.txt", "$b/result.json").replace("data/five.txt", "$a"))
    total, a, b = (planned.steps[name] for name in ("total", "a", "b"))
    assert total.inputs["$b/result.json"] == b.folder / "result.json"
    assert total.inputs["$a"] == a.folder


def test_parts_of_a_plan(plan, five):
    planned = plan(CHAIN)
    assert list(planned.restricted("b").steps) == ["a", "b"]
    assert {step.name for step in planned.following("b")} == {"b", "total"}
    with pytest.raises(WorkflowError, match="--only c: no step is called 'c'; expected one of a, b, total"):
        planned.restricted("c")


def test_graph_of_a_diamond():
    needs = {"d": frozenset("bc"), "b": frozenset("a"), "c": frozenset("a"), "a": frozenset(), "e": frozenset()}
    order = ordered(needs)
    assert all(order.index(upstream) < order.index(name) for name in needs for upstream in needs[name])
    assert ancestors(needs, "d") == set("abcd")
    assert descendants(needs, "a") == set("abcd")
    assert parse_reference("plain/path.xyz") is None


def test_folders_are_hashed_with_names_and_contents(tmp_path):
    folder = tmp_path / "shards"
    folder.mkdir()
    (folder / "one").write_text("1")
    digests = FileDigests(tmp_path / "memory.json")
    first = digests.digest(folder)
    (folder / "one").rename(folder / "two")
    second = digests.digest(folder)
    (folder / "two").write_text("2")
    assert len({first, second, digests.digest(folder)}) == 3
    assert not (tmp_path / "memory.json").exists()


def test_large_files_are_hashed_once(tmp_path, monkeypatch):
    monkeypatch.setattr("simkit.workflow.digest.LARGE", 4)
    path = tmp_path / "large"
    path.write_text("abcdef")
    first = FileDigests(tmp_path / "memory.json").digest(path)
    monkeypatch.setattr("simkit.workflow.digest.file_hash", lambda path: "hashed again")
    assert FileDigests(tmp_path / "memory.json").digest(path) == first
    path.write_text("abcdefg")
    assert FileDigests(tmp_path / "memory.json").digest(path) == "hashed again"


def test_digest_of_values_is_canonical():
    assert digest_of({"a": 1, "b": Path("x")}) == digest_of({"b": "x", "a": 1})
    assert digest_of(1) != digest_of(1.0) != digest_of("1.0")
