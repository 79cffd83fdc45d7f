"""Options of the command line: settings parsed strictly, files read as told."""

import pytest

from explstm.errors import UsageError
from explstm.options import DataOptions, parse_settings


def test_settings_are_json_or_text_and_go_to_the_model_or_its_network():
    settings = parse_settings(
        ["max_steps=20", "learning_rate=1e-3", "loss=mae", "hidden_sizes=[8, 4]", "growth=log"]
    )
    spec = settings.pop("spec")
    assert settings == {"max_steps": 20, "learning_rate": 1e-3, "loss": "mae", "growth": "log"}
    assert spec.hidden_sizes == (8, 4)
    assert parse_settings([]) == {}


def test_one_size_needs_no_brackets():
    assert parse_settings(["hidden_sizes=4"])["spec"].hidden_sizes == (4,)


@pytest.mark.parametrize(
    ("texts", "words"),
    [
        (["max_step=3"], ["max_step", "did you mean max_steps"]),
        (["hiden_sizes=[3]"], ["did you mean hidden_sizes"]),
        (["horizon=3"], ["horizon is not an option"]),
        (["random_seed=3"], ["random_seed is not an option"]),
        (["max_steps"], ["key=value"]),
        (["max_steps=1", "max_steps=2"], ["each key once"]),
        (["max_steps=ten"], ["max_steps='ten'"]),
        (["max_steps=0"], ["max_steps=0", "greater than or equal to 1"]),
        (["learning_rate=NaN"], ["learning_rate"]),
        (["dropout=1.5"], ["dropout=1.5"]),
        (["weight_decay=0.1"], ["weight_decay", "optimizer"]),
        (["hidden_sizes=[4,"], ["hidden_sizes.0='[4,'", "integer"]),
        (["dense_sizes=" + "[" * 100_000], ["dense_sizes"]),
    ],
)
def test_a_setting_that_cannot_be_used_is_named_with_its_remedy(texts, words):
    with pytest.raises(UsageError) as refusal:
        parse_settings(texts)
    assert refusal.value.exit_code == 2
    assert all(word in str(refusal.value) for word in words)


def test_a_file_is_read_with_the_columns_and_signs_given(tmp_path):
    file = tmp_path / "sales.csv"
    file.write_text("shop;day;sold\nA;2024-01-31;1,5\nA;2024-02-29;2,5\nA;2024-03-31;3,5\n")
    options = DataOptions(id_col="shop", time_col="day", target_col="sold", decimal=",")
    panel = options.read(file)
    assert list(panel.ids_N) == ["A"]
    assert list(panel.y_S) == [1.5, 2.5, 3.5]
    assert options.first_season(panel) == 12
    assert DataOptions(season_length=[4, 2]).first_season(panel) == 4


def test_texts_that_stand_for_missing_values_are_named(tmp_path):
    file = tmp_path / "count.csv"
    file.write_text("ds,y\n0,1\n1,NA\n2,\n3,4\n")
    assert DataOptions(missing=["NA"], fill="forward").read(file).y_S.tolist() == [1, 1, 1, 4]


@pytest.mark.parametrize(
    "options", [{"season_length": [0]}, {"freq": "9" * 5000}, {"freq": "9" * 30 + "D"}]
)
def test_numbers_out_of_range_are_refused(options, tmp_path):
    file = tmp_path / "count.csv"
    file.write_text("ds,y\n0,1\n1,2\n")
    with pytest.raises(UsageError):
        DataOptions(**options).read(file)


def test_an_integer_frequency_is_a_number(tmp_path):
    file = tmp_path / "count.csv"
    file.write_text("ds,y\n0,1\n5,2\n10,3\n")
    assert DataOptions(freq="5").read(file).freq == 5
