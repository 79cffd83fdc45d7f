"""A series read in pieces is forecast as if it were read at once."""

import numpy as np
import pytest

from contract.conftest import SPECS, draw_batch, draw_weights
from explstm.errors import UsageError
from explstm.models.numpy_engine import NumpyEngine


@pytest.mark.parametrize("name", SPECS)
def test_reading_on_equals_reading_again(name):
    spec = SPECS[name]
    engine = NumpyEngine(spec, draw_weights(spec))
    features_BTF = draw_batch(spec, n_series=3, n_steps=9).features_BTF
    states = None
    for start, end in ((0, 4), (4, 5), (5, 9)):
        forecast, states = engine.stream(features_BTF[:, start:end], states)
        fresh = engine.predict_last(features_BTF[:, :end], np.full(3, end))
        np.testing.assert_allclose(forecast, fresh, atol=1e-6)


def test_steps_on_the_way_are_forecast_from_where_asked():
    spec = SPECS["slstm"]
    engine = NumpyEngine(spec, draw_weights(spec))
    features_BTF = draw_batch(spec, n_series=3, n_steps=9).features_BTF
    origins_BT = np.random.default_rng(1).random((3, 9)) < 0.5
    _, states = engine.stream(features_BTF[:, :4])
    found, _ = engine.stream(features_BTF[:, 4:], states, origins_BT[:, 4:])
    whole = engine.predict_origins(features_BTF, origins_BT)
    np.testing.assert_allclose(found, whole[np.nonzero(origins_BT)[1] >= 4], atol=1e-6)


def test_states_handed_out_are_left_as_they_were():
    spec = SPECS["slstm"]
    engine = NumpyEngine(spec, draw_weights(spec))
    features_BTF = draw_batch(spec, n_series=3, n_steps=9).features_BTF
    _, states = engine.stream(features_BTF[:, :4])
    first, _ = engine.stream(features_BTF[:, 4:], states)
    again, _ = engine.stream(features_BTF[:, 4:], states)
    np.testing.assert_array_equal(first, again)


@pytest.mark.parametrize("n_series, n_steps", [(2, 1), (3, 0)])
def test_states_of_other_series_and_no_steps_are_refused(n_series, n_steps):
    spec = SPECS["slstm"]
    engine = NumpyEngine(spec, draw_weights(spec))
    features_BTF = draw_batch(spec, n_series=3, n_steps=9).features_BTF
    _, states = engine.stream(features_BTF)
    with pytest.raises(UsageError, match="at least one step"):
        engine.stream(features_BTF[:n_series, :n_steps], states)
