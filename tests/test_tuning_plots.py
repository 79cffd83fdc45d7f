"""The figures of a tuning show their facts."""

import pandas as pd
import pytest

from explstm.tuning_facts import history_facts, slice_facts, trials_table
from test_tuning_facts import KNOBS, RECORDS

plots = pytest.importorskip("explstm.plots")
TRIALS = trials_table(RECORDS, KNOBS)


def texts(axis):
    return [text.get_text() for text in axis.texts]


def test_history_marks_states_and_draws_the_best_so_far():
    (axis,) = plots.draw_history(history_facts(TRIALS)).axes
    complete, pruned, best = axis.lines
    assert complete.get_xydata().tolist() == [[0, 2.0], [3, 1.0]]
    assert pruned.get_xydata().tolist() == [[2, 3.0]]
    assert list(best.get_ydata()) == [2.0, 2.0, 1.0]
    assert complete.get_marker() != pruned.get_marker()


def test_importance_is_ranked_and_may_be_unknown():
    facts = pd.DataFrame({"knob": ["rate", "sizes"], "importance": [0.75, 0.25]})
    (axis,) = plots.draw_importance(facts).axes
    assert [bar.get_width() for bar in axis.patches] == [0.25, 0.75]
    assert texts(axis) == ["25%", "75%"]
    (axis,) = plots.draw_importance(facts[:0]).axes
    assert "Too few trials" in axis.get_title()


def test_parallel_coordinates_hold_the_complete_trials():
    (axis,) = plots.draw_parallel(slice_facts(TRIALS, KNOBS)).axes
    lines = {line.get_gid(): line for line in axis.lines if line.get_gid()}
    assert set(lines) == {"trial-0", "trial-3"}
    assert list(lines["trial-3"].get_ydata()) == [0.0, 1.0]
    assert lines["trial-3"].get_linestyle() != lines["trial-0"].get_linestyle()
    assert {"[8]", "[8, 4]", "0.001", "0.01", "0.1"} == set(texts(axis))


def test_slices_have_an_axis_per_knob():
    axes = plots.draw_slices(slice_facts(TRIALS, KNOBS)).axes
    assert [axis.get_title() for axis in axes] == ["rate, log", "sizes"]
    assert axes[1].lines[0].get_xydata().tolist() == [[0.0, 2.0], [1.0, 1.0]]
