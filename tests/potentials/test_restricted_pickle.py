from __future__ import annotations

import builtins
import collections
import io
import os
import pickle
import subprocess
import sys

import pytest

from simkit.errors import ModelFileError
from simkit.potentials.restricted_pickle import MAX_BYTES, Inert, load


class Calls:
    """Pickles as a call of any function with any arguments."""

    def __init__(self, function, *arguments):
        self.function = function
        self.arguments = arguments

    def __reduce__(self):
        return self.function, self.arguments


HOSTILE = {
    "os.system": (os.system, "touch {target}"),
    "subprocess": (subprocess.check_output, ["touch", "{target}"]),
    "eval": (builtins.eval, "open('{target}', 'w')"),
    "exec": (builtins.exec, "open('{target}', 'w')"),
    "open": (builtins.open, "{target}", "w"),
    "sys.setrecursionlimit": (sys.setrecursionlimit, 12),
    "pickle.loads": (pickle.loads, b"cos\nsystem\n(S'touch {target}'\ntR."),
}


@pytest.mark.parametrize("name", HOSTILE)
@pytest.mark.parametrize("protocol", range(6))
@pytest.mark.parametrize("nested", [False, True])
def test_attack_is_refused_and_nothing_runs(tmp_path, name, protocol, nested):
    target = tmp_path / "ran"
    function, *arguments = HOSTILE[name]
    filled = [a.replace("{target}", str(target)) if isinstance(a, str) else a for a in arguments]
    attack: object = Calls(function, *filled)
    if nested:
        attack = {"weights": [1.0, collections.OrderedDict(a=(attack,))]}
    limit = sys.getrecursionlimit()
    with pytest.raises(ModelFileError, match=r"asks to call '\w+\.\w+', which no model needs.*Nothing was run"):
        load(pickle.dumps(attack, protocol), {"collections.OrderedDict": collections.OrderedDict})
    assert not target.exists()
    assert sys.getrecursionlimit() == limit


def test_unknown_functions_stay_inert(tmp_path):
    """Also those that no list of dangerous names foresees."""
    target = tmp_path / "ran"
    stream = b"cunheard.of\nmodule.function\n(S'" + str(target).encode() + b"'\ntR."
    value = load(stream, {})
    assert isinstance(value, Inert)
    assert value.source == "unheard.of.module.function"
    assert value.arguments == (str(target),)
    assert "unheard" not in sys.modules


def test_dotted_names_do_not_reach_attributes():
    """``collections.OrderedDict.__init__.__globals__`` would lead to every module."""
    stream = b"\x80\x04\x8c\x0bcollections\x8c\x20OrderedDict.fromkeys.__globals__\x93."
    value = load(stream, {"collections.OrderedDict": collections.OrderedDict})
    assert value.source == "collections.OrderedDict.fromkeys.__globals__"
    assert issubclass(value, Inert)


class Model:
    """What an ordinary pickle holds."""


class Numbers(list):
    pass


class Table(dict):
    pass


class Pair(tuple):
    pass


@pytest.mark.parametrize("protocol", range(2, 6))
def test_ordinary_objects_can_be_read(protocol):
    model = Model()
    model.cutoff, model.name, model.numbers = 5.0, "a", Numbers([1, 2])
    model.table, model.pair, model.function, model.set = Table(k=1), Pair((1, 2)), os.path.join, {1}
    model.self = model
    value = load(pickle.dumps(model, protocol), {"builtins.set": set, "__builtin__.set": set})
    assert value.source.endswith("Model")
    assert value.state["cutoff"] == 5.0
    assert value.state["numbers"].items == [1, 2]
    assert value.state["table"].items == [("k", 1)]
    assert value.state["pair"].arguments == ((1, 2),)
    assert value.state["function"].source == "posixpath.join"
    assert value.state["set"] == {1}
    assert value.state["self"] is value
    assert "inert" in repr(value)


def test_allowed_functions_cannot_be_changed():
    """BUILD on a function would otherwise set its attributes."""
    called = []
    for state in (b"}S'_function'\nNs", b"N}S'_function'\nNs\x86", b"}S'__code__'\nNs"):
        with pytest.raises(ModelFileError, match="damaged"):
            load(b"\x80\x02cour\nfunction\n" + state + b"b.", {"our.function": called.append})
    assert called == []


@pytest.mark.parametrize(
    ("stream", "message"),
    [
        (b"", "no complete pickle"),
        (b"\x80\x02", "no complete pickle"),
        (b"some text", "no complete pickle"),
        (pickle.dumps({"a": [1.5] * 100})[:-20], "no complete pickle"),
        (b"\x80\x04\x8e\xff\xff\xff\xff\xff\xff\xff\x7f.", "no complete pickle"),  # 2**63 bytes announced
        (b"\x80\x02N" + b"r\xff\xff\xff\x7f" + b".", "memo entry 2147483647"),  # an array of 2**31 entries
        (b"(I0\nI1\ntp-5\n.", "memo entry -5"),
        (b"\x80\x02\x82\x01.", "EXT1"),
        (b"Pname\n.", "PERSID"),
        (b"\x80\x02N0.", "damaged|no complete pickle"),  # an empty stack
        (b"\x80\x02cbuiltins\nset\nK\x01\x85R.", "damaged"),  # set(1)
        (b"\x80\x02K\x01Q.", "refers to data outside"),
    ],
)
def test_damaged_or_exhausting_pickle_is_refused(stream, message):
    with pytest.raises(ModelFileError, match=message):
        load(stream, {"builtins.set": set}, what="a.model")


def test_too_large_a_pickle_is_refused():
    with pytest.raises(ModelFileError, match="at most"):
        load(bytes(MAX_BYTES + 1), {})


def test_persistent_objects_are_asked_for():
    stream = io.BytesIO()

    class Writer(pickle.Pickler):
        def persistent_id(self, value):
            return ("storage", value.name) if isinstance(value, io.BytesIO) and value is not stream else None

    inner = io.BytesIO()
    inner.name = "weights"
    Writer(stream, 2).dump([inner, 3])
    assert load(stream.getvalue(), {}, persistent=lambda identifier: identifier[1]) == ["weights", 3]
