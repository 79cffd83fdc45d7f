import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from explstm.errors import DataError, UsageError
from explstm.scaling import GROWTH_NAMES, fit_transform, from_level, to_level
from panels import make_panel

CLASSIC = ("standard", "minmax", "robust", "difference")


def there_and_back(panel, growth):
    transform, _ = fit_transform(panel, growth)
    z_S = to_level(transform, panel.y_S, panel.lengths_N)
    assert np.isfinite(z_S).all()
    values = [z_S[a:b] for a, b in zip(panel.starts_N1[:-1], panel.starts_N1[1:], strict=True)]
    width = max(map(len, values))
    z_NH = np.array([np.pad(v, (0, width - len(v)), mode="edge") for v in values])
    y_NH = from_level(transform, z_NH, panel.ids_N)
    return np.concatenate([y[: len(v)] for y, v in zip(y_NH, values, strict=True)])


@pytest.mark.parametrize(
    ("y", "name", "phrase"),
    [
        ([1.0, 2.0, 4.0], "log", "every value is positive"),
        ([0.0, 0.0, 1.0, 2.0, 30.0, 400.0, 5000.0], "asinh", "span two orders"),
        ([-1.0, 2.0, -3.0, 4.0], "linear", "magnitudes are alike"),
        ([0.0, 0.0, 0.0], "linear", "magnitudes are alike"),
    ],
)
def test_auto_chooses_a_curve_for_each_series_and_says_why(y, name, phrase):
    transform, reasons_N = fit_transform(make_panel([5.0, 6.0], y))
    assert transform.names_N.tolist() == ["log", name]
    assert reasons_N[1].startswith(name) and phrase in reasons_N[1]


@pytest.mark.parametrize("growth", [name for name in GROWTH_NAMES if name != "auto"])
def test_an_explicit_choice_is_honoured_for_every_series(growth):
    transform, reasons_N = fit_transform(make_panel([1.0, 2.0], [3.0, 9.0, 4.0]), growth)
    assert transform.names_N.tolist() == [growth, growth]
    assert reasons_N[0] == f"{growth}: asked for"


def test_classic_scalings_match_their_definitions():
    y = np.array([3.0, 1.0, 4.0, 1.0, 5.0, 9.0])
    expected = {
        "standard": (y - y.mean()) / y.std(),
        "minmax": (y - 1) / 8,
        "robust": (y - 3.5) / (np.quantile(y, 0.75) - np.quantile(y, 0.25)),
        "difference": (y - 3) / np.sqrt(np.mean(np.diff(y) ** 2)),
    }
    panel = make_panel([7.0, 8.0], y)
    for growth, z in expected.items():
        transform, _ = fit_transform(panel, growth)
        found = to_level(transform, panel.y_S, panel.lengths_N)[2:]
        np.testing.assert_allclose(found, z, rtol=1e-12)


def test_robust_scaling_falls_back_to_the_deviation_when_quartiles_agree():
    y = [2.0] * 9 + [12.0]
    transform, _ = fit_transform(make_panel(y), "robust")
    assert transform.unit_N[0] == pytest.approx(np.std(y))


@pytest.mark.parametrize("growth", CLASSIC)
def test_a_constant_series_has_no_spread_and_comes_back_exactly(growth):
    panel = make_panel([0.1] * 7, [1.0, 2.0])
    transform, _ = fit_transform(panel, growth)
    assert transform.unit_N[0] == 0
    y_NH = from_level(transform, np.array([[0.0, 3.0], [0.0, 0.0]]), panel.ids_N)
    assert y_NH[0].tolist() == [0.1, 0.1]


magnitude = st.floats(1e-100, 1e100)
signed = st.builds(lambda m, s: m * s, magnitude, st.sampled_from([-1.0, 0.0, 1.0]))


@given(st.lists(st.floats(5e-324, 1.7e308), min_size=1, max_size=20))
def test_log_is_undone_within_a_billionth_at_any_magnitude(y):
    np.testing.assert_allclose(there_and_back(make_panel(y), "log"), y, rtol=1e-9)


@given(st.lists(signed, min_size=1, max_size=20))
def test_asinh_is_undone_within_a_billionth_of_value_and_unit(y):
    panel = make_panel(y)
    unit = fit_transform(panel, "asinh")[0].unit_N[0]
    np.testing.assert_allclose(there_and_back(panel, "asinh"), y, rtol=1e-9, atol=1e-12 * unit)


@given(
    st.lists(st.floats(-1e6, 1e6), min_size=2, max_size=20),
    st.sampled_from([*CLASSIC, "linear", "auto"]),
)
def test_every_curve_is_undone(y, growth):
    panel = make_panel(y, [1.0, 3.0, 2.0])
    back_S = there_and_back(panel, growth)
    np.testing.assert_allclose(back_S, panel.y_S, rtol=1e-9, atol=1e-9 * np.abs(y).max())


def test_curves_increase():
    panel = make_panel(np.array([-50.0, -1.0, 0.0, 0.5, 2.0, 900.0]))
    for growth in ("asinh", "linear", *CLASSIC):
        transform, _ = fit_transform(panel, growth)
        assert (np.diff(to_level(transform, panel.y_S, panel.lengths_N)) > 0).all()


@pytest.mark.parametrize("growth", CLASSIC)
def test_tiny_magnitudes_keep_their_spread(growth):
    y = np.array([1e-300, 3e-300, 2e-300, 5e-300])
    np.testing.assert_allclose(there_and_back(make_panel(y), growth), y, rtol=1e-9)


@pytest.mark.parametrize("value", [0.0, -3.5])
def test_log_refuses_a_value_that_is_not_positive(value):
    with pytest.raises(DataError, match=rf"'s1' has {value:g} at step 3; use growth='auto'"):
        fit_transform(make_panel([1.0, 2.0], [1.0, 2.0, value, 4.0]), "log")


@pytest.mark.parametrize("growth", ["auto", "linear", "asinh", *CLASSIC])
def test_values_that_would_overflow_are_refused_by_name(growth):
    with pytest.raises(DataError, match=r"up to 1e\+150, but series 's1' has -1e\+308 at step 2"):
        fit_transform(make_panel([1.0, 2.0], [1.0, -1e308]), growth)


@pytest.mark.parametrize(
    ("growth", "hint"), [("logs", "did you mean 'log'"), ("zz", "known: auto")]
)
def test_an_unknown_name_is_refused_with_a_hint(growth, hint):
    with pytest.raises(UsageError, match=hint):
        fit_transform(make_panel([1.0, 2.0]), growth)


def test_an_overflowing_forecast_is_refused_naming_series_and_step():
    panel = make_panel([1.0, 2.0], [1.0, 2.0])
    transform, _ = fit_transform(panel, "log")
    z_NHQ = np.zeros((2, 4, 3))
    z_NHQ[1, 2, 0] = 800.0
    with pytest.raises(DataError, match="series 's1' at step 3 is inf"):
        from_level(transform, z_NHQ, panel.ids_N)


def test_an_overflowing_forecast_is_capped_only_on_request_and_with_a_warning():
    panel = make_panel([1.0, 2.0], [1.0, 2.0])
    transform, _ = fit_transform(panel, "log")
    with pytest.warns(RuntimeWarning, match="series 's0' at step 2 was too large"):
        y_NH = from_level(transform, np.array([[0.0, 800.0], [0, 0]]), panel.ids_N, overflow="cap")
    assert y_NH[0].tolist() == [1.0, np.finfo(np.float64).max]


def test_a_forecast_that_is_not_a_number_is_never_capped():
    panel = make_panel([1.0, 2.0])
    transform, _ = fit_transform(panel, "log")
    with pytest.raises(DataError, match="at step 1 is nan"):
        from_level(transform, np.array([[np.nan]]), panel.ids_N, overflow="cap")


def test_new_values_out_of_reach_of_a_log_become_minus_infinity():
    transform, _ = fit_transform(make_panel([1.0, 2.0]), "log")
    z_S = to_level(transform, np.array([0.0, -4.0, 1.0]), np.array([3]))
    assert z_S.tolist() == [-np.inf, -np.inf, 0.0]
