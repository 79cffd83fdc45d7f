"""The forecaster as sktime's own checks are run on it, once for every engine.

The classes stand in a module of their own because the checks pickle them.
"""

from explstm.sktime import ExpLSTMForecaster


class OnTorch(ExpLSTMForecaster):
    __doc__ = ExpLSTMForecaster.__doc__

    @classmethod
    def get_test_params(cls, parameter_set="default"):
        return super().get_test_params("torch")


class OnTensorFlow(ExpLSTMForecaster):
    __doc__ = ExpLSTMForecaster.__doc__

    @classmethod
    def get_test_params(cls, parameter_set="default"):
        return super().get_test_params("tensorflow")


FORECASTERS = {"numpy": ExpLSTMForecaster, "torch": OnTorch, "tensorflow": OnTensorFlow}
