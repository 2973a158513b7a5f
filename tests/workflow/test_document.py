import pytest

from simkit.errors import WorkflowError
from simkit.workflow.document import dotted, parse_value, read_document, with_setting


def test_yaml_1_2_values(write):
    document = read_document(write("a: 1e-3\nb: no\nc: 0o17\nd: 1.5e5\ne: on\nf: null\ng: .inf\nh: 010\n"))
    assert document.data == {
        "a": 1e-3,
        "b": "no",
        "c": 15,
        "d": 1.5e5,
        "e": "on",
        "f": None,
        "g": float("inf"),
        "h": 10,
    }


def test_every_value_knows_its_line(write):
    document = read_document(write("a: 1\n\nb:\n  c: [1, 2]\n  d:\n    - x\n    - y: 3\n"))
    assert document.where(("b", "c")).endswith("flow.yaml, line 4")
    assert document.where(("b", "d", 1, "y")).endswith("line 7")
    assert document.where(("b", "absent", "too")).endswith("line 3")
    assert document.where(("absent",)).endswith("flow.yaml")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("a: 1\nb: 2\na: 3\n", r"flow.yaml, line 3: no valid YAML: found duplicate key \"a\""),
        ("a: [1, 2\nb: 3\n", r"flow.yaml, line 2: no valid YAML"),
        ("a: !!python/object/apply:os.system ['true']\n", r"line 1: no valid YAML: could not determine a constructor"),
        ("", r"expected keys and values at the top level, found an empty file"),
        ("- a\n- b\n", r"expected keys and values at the top level, found a list"),
        ("a: 1\n---\nb: 2\n", r"no valid YAML: but found another document"),
        ("a:\tb: 1\n  c", r"line \d: no valid YAML"),
    ],
)
def test_broken_files(write, text, message):
    with pytest.raises(WorkflowError, match=message):
        read_document(write(text))


def test_unreadable_files(tmp_path, write):
    write("a: 1", "quickstart.yaml")
    with pytest.raises(WorkflowError, match=r"quikstart.yaml: no such file; did you mean .*quickstart.yaml\?"):
        read_document(tmp_path / "quikstart.yaml")
    with pytest.raises(WorkflowError, match="expected a YAML file, found the folder"):
        read_document(tmp_path)
    (tmp_path / "binary.yaml").write_bytes(b"a: \xff\xfe")
    with pytest.raises(WorkflowError, match="in UTF-8"):
        read_document(tmp_path / "binary.yaml")


def test_aliases_are_read(write):
    document = read_document(write("a: &x {b: 1}\nc: *x\nd: {<<: *x, e: 2}\n"))
    assert document.data == {"a": {"b": 1}, "c": {"b": 1}, "d": {"b": 1, "e": 2}}


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("a: &x\n  b: *x\n", "an alias .* within its own anchor"),
        ("a0: &a0 [1, 2]\n" + "".join(f"a{i}: &a{i} [*a{i - 1}, *a{i - 1}]\n" for i in range(1, 60)), "fewer than"),
        ("a: " + "[" * 3000 + "]" * 3000, "nested too deeply"),
    ],
)
def test_aliases_and_nesting_cannot_fill_the_memory(write, text, message):
    with pytest.raises(WorkflowError, match=message):
        read_document(write(text))


def test_settings_replace_and_add(write):
    original = read_document(write("a: {b: [1, 2]}\nseed: 1\n"))
    document = original
    for setting in ("a.b.1=1e-3", "seed = 7", "a.new.deep={x: [1]}", "a.text=no=yes"):
        document = with_setting(document, setting)
    assert document.data == {"a": {"b": [1, 1e-3], "new": {"deep": {"x": [1]}}, "text": "no=yes"}, "seed": 7}
    assert document.where(("a", "new", "deep")).endswith("flow.yaml, --set a.new.deep")
    assert original.data == {"a": {"b": [1, 2]}, "seed": 1}


@pytest.mark.parametrize(
    ("setting", "message"),
    [
        ("seed", "expected --set path=value"),
        ("a..b=1", "expected --set path=value"),
        ("seed.x=1", "seed is 1, which has no keys"),
        ("a.b.5=1", "a.b is a list, expected an index from 0 to 1"),
        ("a.c=[1", "expected a YAML value"),
    ],
)
def test_wrong_settings(write, setting, message):
    with pytest.raises(WorkflowError, match=message):
        with_setting(read_document(write("a: {b: [1, 2]}\nseed: 1\n")), setting)


def test_small_helpers():
    assert dotted(("steps", "a", "terms", 0, "x")) == "steps.a.terms[0].x"
    assert parse_value("1e-3") == 1e-3
