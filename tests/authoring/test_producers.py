"""A kept result goes stale when what produced it changes, and by nothing else."""

import textwrap

import pytest

from greenkit.authoring.cells import Cell
from greenkit.authoring.producers import changed, producers

LAB = {
    "setup": "import greenkit as gk\nlab = gk.lab('probe')",
    "size": "from greenkit.foundations import formulas\nhours = 3",
    "work": "rows = {}\ndef add(name):\n    rows[name] = formulas.energy(100, hours)",
    "change": "rows['x'] = 1",
    "other": "unrelated = 7",
    "keep": "add('y')\nlab.keep('rows', rows)",
    "claim": "lab.claim('it grows', rows['x'] < 2, kind='here')",
}


def cells(**changes):
    sources = {**LAB, **changes}
    return [
        Cell(number, name, textwrap.dedent(source), (), "")
        for number, (name, source) in enumerate(sources.items())
    ]


def behind(**changes):
    return producers(cells(**changes), ["keep"])["keep"]


def test_the_cells_behind_a_result_are_those_whose_names_it_uses():
    named = {name.removeprefix("cell ") for name in behind() if name.startswith("cell ")}
    assert named == {"size", "work", "change", "keep"}


@pytest.mark.parametrize(
    "change",
    [
        {"claim": "lab.claim('it grows', rows['x'] < 3, kind='here')"},
        {"other": "unrelated = 8"},
        {"keep": "add('y')  # twice\nprint(rows)\nlab.claim('x', True, kind='exact')\n"
                 "lab.keep( 'rows', rows)"},
        {"work": "rows = {}\ndef add(name):\n    'A docstring.'\n"
                 "    rows[name] = formulas.energy(100,  hours)"},
    ],
    ids=["threshold", "another cell", "comment, print, claim", "docstring"],
)  # fmt: skip
def test_what_computes_nothing_leaves_a_result_fresh(change):
    then, now = behind(), behind(**change)
    for name in ("cell keep", "cell work", "cell size", "cell change"):
        if name == "cell keep" and "keep" in change:
            continue
        assert then[name] == now[name]
    assert set(then) == set(now)


@pytest.mark.parametrize("cell", ["size", "work", "change", "keep"])
def test_a_changed_producer_is_named(cell):
    source = LAB[cell].replace("3", "4").replace("100", "200").replace("= 1", "= 2")
    source = source.replace("'y'", "'z'")
    assert changed(behind(), behind(**{cell: source})) == [f"cell {cell}"]


ROOM = "greenkit.compressing.pruning.criteria"
IMPORT = f"from {ROOM.rpartition('.')[0]} import criteria\n"


def test_a_greenkit_function_counts_with_all_that_it_calls(monkeypatch):
    from greenkit.compressing.pruning import criteria

    one = cells(keep=IMPORT + "lab.keep('x', criteria.keep_n_of_m(1, 2, 4))")
    then = producers(one, ["keep"])["keep"]
    assert set(then) == {"cell keep", f"{ROOM}.keep_n_of_m", f"{ROOM}.keep_highest"}

    def keep_highest(scores, sparsity):
        return scores

    keep_highest.__module__, keep_highest.__qualname__ = ROOM, "keep_highest"
    monkeypatch.setattr(criteria, "keep_highest", keep_highest)
    now = producers(one, ["keep"])["keep"]
    assert changed(then, now) == [f"{ROOM}.keep_highest"]


def test_a_constant_that_a_function_names_counts():
    one = cells(keep=IMPORT + "lab.keep('x', criteria.sparsegpt(1, 2, 0.5))")
    assert f"{ROOM}.DAMPING" in producers(one, ["keep"])["keep"]


def test_the_meter_counts_and_what_lies_below_it_does_not():
    one = cells(keep="from greenkit.metering import compare\nlab.keep('x', compare({}))")
    parts = producers(one, ["keep"])["keep"]
    assert "greenkit.metering.compare.compare" in parts
    assert not any("sampler" in name or "knots" in name for name in parts)


def test_the_room_of_the_labs_is_no_producer():
    one = cells(keep="from greenkit.course.runs import plain\nlab.keep('x', plain(1))")
    assert not any("course" in name for name in producers(one, ["keep"])["keep"])


@pytest.mark.parametrize(
    "work",
    [
        "    if name == 'z':\n        raise ValueError(name)\n"
        "    rows[name] = formulas.energy(100, hours)",
        "    gk.refuse_nonsense(name)\n    rows[name] = formulas.energy(100, hours)",
        "    try:\n        rows[name] = formulas.energy(100, hours)\n"
        "    except TypeError as error:\n        raise ValueError(name) from error",
    ],
    ids=["guard", "call that refuses", "another error"],
)  # fmt: skip
def test_what_only_raises_leaves_a_result_fresh(work):
    assert behind(work="rows = {}\ndef add(name):\n" + work) == behind()


@pytest.mark.parametrize(
    "work",
    [
        "    if name == 'z':\n        rows[name] = 0\n    rows[name] = formulas.energy(100, hours)",
        "    if name == 'z':\n        raise ValueError(name)\n    else:\n"
        "        hours = 4\n    rows[name] = formulas.energy(100, hours)",
        "    if (hours := 4) < 3:\n        raise ValueError(name)\n"
        "    rows[name] = formulas.energy(100, hours)",
        "    try:\n        rows[name] = formulas.energy(100, hours)\n"
        "    except TypeError:\n        rows[name] = 0",
    ],
    ids=["branch", "else", "guard that binds", "handler that computes"],
)  # fmt: skip
def test_what_may_do_more_than_raise_makes_a_result_stale(work):
    assert behind(work="rows = {}\ndef add(name):\n" + work)["cell work"] != behind()["cell work"]


def test_reading_a_pinned_file_is_no_producer():
    made = behind(work="rows = {}\nmodel = gk.load_model()\ndef add(name):\n    rows[name] = model")
    assert "greenkit.inputs.models.load_model" in made
    assert "greenkit.inputs.gguf._convert" in made
    assert not {name for name in made if "fetching" in name or name.endswith("models._read")}
