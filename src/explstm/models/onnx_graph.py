"""The network as an ONNX graph, written operator by operator from a specification and weights.

Contract: the graph does what :meth:`explstm.models.engine.Engine.predict_origins` does, to float32
rounding, from these inputs to this output, with open axes B, T and R::

    features   float32 (B, T, F)   series from step 0 on; anything finite after their end
    origins    int64   (R, 2)      picked steps: which series, which step, both from 0
    quantiles  float32 (R, H, Q)   forecasts from these steps, rising along Q

Each recurrent layer is one ``Scan`` over time, whose body is a step as
:mod:`explstm.models.numpy_cells` defines it; the operator ``LSTM`` knows neither sLSTM nor all
activations. Only operators of the default domain are used, of :data:`OPSET`.

Axis letters: B series, T time, F features, C channels, G gates (4 C), R origins, H horizon,
Q quantiles.
"""

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from explstm.errors import BackendNotInstalledError
from explstm.models.engine import Arrays, check_weights
from explstm.models.spec import BATCH_NORM_EPSILON, Activation, ModelSpec, head_mask

OPSET = 17
IR_VERSION = 8
"""Of the file format, which opset 17 came with: runtimes from 2022 on read it."""
PRODUCER = "explstm"
GRAPH = "network"

Array = NDArray[Any]

OPERATORS: dict[Activation, tuple[str, dict[str, Any]]] = {
    "tanh": ("Tanh", {}),
    "sigmoid": ("Sigmoid", {}),
    "hard_sigmoid": ("HardSigmoid", {"alpha": 1 / 6, "beta": 0.5}),
    "relu": ("Relu", {}),
    "elu": ("Elu", {"alpha": 1.0}),
    "selu": ("Selu", {}),  # its constants are the defaults of the operator
    "softplus": ("Softplus", {}),
    "softsign": ("Softsign", {}),
}
"""The others, ``linear`` and ``silu``, take none and two."""


def build_onnx(spec: ModelSpec, weights: Arrays, about: Mapping[str, str] | None = None) -> Any:
    """Write a network as an ONNX model, checked by ONNX' own checker.

    Args:
        spec: The network.
        weights: Its weights under their canonical names.
        about: Further entries of the file, texts by name.

    Raises:
        BackendNotInstalledError: ONNX is not installed.
        ModelFileError: The weights do not belong to the network.
    """
    onnx = import_onnx()
    check_weights(spec, weights)
    graph = _Nodes()
    hidden_TBC = graph.add("Transpose", "features", perm=[1, 0, 2])
    for i, size in enumerate(spec.hidden_sizes):
        hidden_TBC = _add_layer(graph, spec, weights, f"{spec.cell}_{i}", size, hidden_TBC)
    hidden_BTC = graph.add("Transpose", hidden_TBC, perm=[1, 0, 2])
    x_RC = graph.add("GatherND", hidden_BTC, "origins")
    if spec.residual:
        x_RC = graph.add("Concat", x_RC, graph.add("GatherND", "features", "origins"), axis=1)
    _add_head(graph, spec, weights, _add_dense(graph, spec, weights, x_RC))
    tensor, types = onnx.helper.make_tensor_value_info, onnx.TensorProto
    shape = ["R", spec.horizon, len(spec.quantiles)]
    network = onnx.helper.make_graph(
        graph.nodes,
        GRAPH,
        [
            tensor("features", types.FLOAT, ["B", "T", spec.n_features]),
            tensor("origins", types.INT64, ["R", 2]),
        ],
        [tensor("quantiles", types.FLOAT, shape)],
        graph.constants,
    )
    model = onnx.helper.make_model(
        network,
        opset_imports=[onnx.helper.make_opsetid("", OPSET)],
        ir_version=IR_VERSION,
        producer_name=PRODUCER,
    )
    onnx.helper.set_model_props(model, dict(about or {}))
    onnx.checker.check_model(model, full_check=True)
    return model


def import_onnx() -> Any:
    """The package ``onnx``.

    Raises:
        BackendNotInstalledError: It is not installed.
    """
    try:
        import onnx
        import onnx.checker
        import onnx.helper
        import onnx.numpy_helper
    except ModuleNotFoundError as error:
        raise BackendNotInstalledError(
            "BACKEND_NOT_INSTALLED",
            f"writing an ONNX file needs {error.name}, which is not installed; "
            "run pip install 'explstm[onnx]'.",
        ) from None
    return onnx


class _Nodes:
    """Operators in the order in which they are added, and the arrays they read."""

    def __init__(self, prefix: str = "") -> None:
        """Take what all names begin with, which sets those of a body apart."""
        self._onnx = import_onnx()
        self._prefix = prefix
        self.nodes: list[Any] = []
        self.constants: list[Any] = []

    def add(self, operator: str, *inputs: str, output: str | None = None, **attributes: Any) -> str:
        """Add an operator with one output, and return the name of it."""
        return self.add_many(operator, inputs, 1, output, **attributes)[0]

    def add_many(
        self,
        operator: str,
        inputs: tuple[str, ...],
        n_outputs: int,
        output: str | None = None,
        **attributes: Any,
    ) -> list[str]:
        """Add an operator, and return the names of its outputs."""
        name = f"{self._prefix}{len(self.nodes)}_{operator.lower()}"
        outputs = [output or name] if n_outputs == 1 else [f"{name}_{i}" for i in range(n_outputs)]
        node = self._onnx.helper.make_node(operator, inputs, outputs, name=name, **attributes)
        self.nodes.append(node)
        return outputs

    def hold(self, array: Array, name: str) -> str:
        """Add an array, float32 or int64, and return its name."""
        name = f"{self._prefix}{name}"
        self.constants.append(self._onnx.numpy_helper.from_array(np.ascontiguousarray(array), name))
        return name

    def activate(self, name: Activation, x: str) -> str:
        """Add an activation."""
        if name == "linear":
            return x
        if name == "silu":
            return self.add("Mul", x, self.add("Sigmoid", x))
        operator, attributes = OPERATORS[name]
        return self.add(operator, x, **attributes)

    def split(self, x: str, axis: int, *sizes: int) -> list[str]:
        """Split along an axis."""
        held = self.hold(np.array(sizes, np.int64), f"{len(self.nodes)}_sizes")
        return self.add_many("Split", (x, held), len(sizes), axis=axis)


# ------------------------------------------------------------------------------------- recurrence


def _add_layer(
    graph: _Nodes, spec: ModelSpec, weights: Arrays, layer: str, size: int, input_TBC: str
) -> str:
    """Add one recurrent layer; returns its hidden states (T, B, C)."""
    kernel, recurrent_kernel, bias = (
        np.asarray(weights[f"{layer}/{part}"], np.float32)
        for part in ("kernel", "recurrent_kernel", "bias")
    )
    if spec.n_heads > 1:
        mask = head_mask(size, spec.n_heads)
        recurrent_kernel = np.tile(recurrent_kernel, (spec.n_heads, 1)) * mask
    gates_TBG = graph.add("MatMul", input_TBC, graph.hold(kernel, f"{layer}/kernel"))
    gates_TBG = graph.add("Add", gates_TBG, graph.hold(bias, f"{layer}/bias"))
    names = ("hidden", "cell") if spec.cell == "lstm" else ("hidden", "cell", "normaliser", "peak")
    starts = [_add_start(graph, layer, name, size, gates_TBG) for name in names]
    body = _make_body(spec, layer, size, recurrent_kernel, names)
    outputs = graph.add_many(
        "Scan", (*starts, gates_TBG), len(names) + 1, body=body, num_scan_inputs=1
    )
    return outputs[-1]


def _add_start(graph: _Nodes, layer: str, name: str, size: int, gates_TBG: str) -> str:
    """Add the state (B, C) before the first step: 0, or nothing seen."""
    n_series = graph.add("Shape", gates_TBG, start=1, end=2)
    width = graph.hold(np.array([size], np.int64), f"{layer}/{name}/size")
    shape = graph.add("Concat", n_series, width, axis=0)
    start = np.full(1, -np.inf if name == "peak" else 0.0, np.float32)
    return graph.add("Expand", graph.hold(start, f"{layer}/{name}/start"), shape)


def _make_body(
    spec: ModelSpec, layer: str, size: int, recurrent_kernel: Array, names: tuple[str, ...]
) -> Any:
    """Make the step of a layer: the state and gates (B, G) in, the state and hidden (B, C) out."""
    onnx = import_onnx()
    body = _Nodes(f"{layer}/step/")
    kernel = body.hold(recurrent_kernel, "recurrent_kernel")
    states = [f"{layer}/{name}" for name in names]
    gates = body.add("Add", body.add("MatMul", states[0], kernel), f"{layer}/gates")
    parts = body.split(gates, 1, *[size] * 4)
    step = _lstm_step if spec.cell == "lstm" else _slstm_step
    after = step(body, spec, parts, states[1:])
    outputs = [body.add("Identity", name) for name in (*after, after[0])]
    tensor, kind = onnx.helper.make_tensor_value_info, onnx.TensorProto.FLOAT
    return onnx.helper.make_graph(
        body.nodes,
        f"{layer}_step",
        [
            *(tensor(name, kind, ["B", size]) for name in states),
            tensor(f"{layer}/gates", kind, ["B", 4 * size]),
        ],
        [tensor(name, kind, ["B", size]) for name in outputs],
        body.constants,
    )


def _lstm_step(body: _Nodes, spec: ModelSpec, parts: list[str], states: list[str]) -> list[str]:
    """Hidden and cell after a step."""
    i, f, g, o = parts
    gate = spec.recurrent_activation
    kept = body.add("Mul", body.activate(gate, f), states[0])
    new = body.add("Mul", body.activate(gate, i), body.activate(spec.activation, g))
    cell = body.add("Add", kept, new)
    hidden = body.add("Mul", body.activate(gate, o), body.activate(spec.cell_output, cell))
    return [hidden, cell]


def _slstm_step(body: _Nodes, spec: ModelSpec, parts: list[str], states: list[str]) -> list[str]:
    """Hidden, cell, normaliser and stabiliser after a step."""
    i, f, g, o = parts
    cell, normaliser, peak = states
    if spec.forget_gate == "sigmoid":  # log(sigmoid(f)) = -softplus(-f)
        f = body.add("Neg", body.add("Softplus", body.add("Neg", f)))
    old = body.add("Add", f, peak)
    peak = body.add("Max", old, i)
    keep = body.add("Exp", body.add("Sub", old, peak))
    take = body.add("Exp", body.add("Sub", i, peak))
    new = body.add("Mul", take, body.activate(spec.activation, g))
    cell = body.add("Add", body.add("Mul", keep, cell), new)
    normaliser = body.add("Add", body.add("Mul", keep, normaliser), take)
    mean = body.add("Div", cell, normaliser)
    hidden = body.add("Mul", body.activate(spec.recurrent_activation, o), mean)
    return [hidden, cell, normaliser, peak]


# -------------------------------------------------------------------------------------- dense part


def _add_dense(graph: _Nodes, spec: ModelSpec, weights: Arrays, x_RC: str) -> str:
    """Add the dense blocks."""
    for i in range(len(spec.dense_sizes)):
        x_RC = graph.add("MatMul", x_RC, _hold_weight(graph, weights, f"dense_{i}/kernel"))
        if spec.batch_norm:
            parts = ("gamma", "beta", "moving_mean", "moving_variance")
            held = [_hold_weight(graph, weights, f"norm_{i}/{part}") for part in parts]
            x_RC = graph.add("BatchNormalization", x_RC, *held, epsilon=BATCH_NORM_EPSILON)
        else:
            x_RC = graph.add("Add", x_RC, _hold_weight(graph, weights, f"dense_{i}/bias"))
        x_RC = graph.activate(spec.dense_activation, x_RC)
    return x_RC


def _add_head(graph: _Nodes, spec: ModelSpec, weights: Arrays, x_RC: str) -> None:
    """Add the head, whose raw numbers become rising quantiles (:mod:`explstm.models.head`)."""
    raw = graph.add("MatMul", x_RC, _hold_weight(graph, weights, "head/kernel"))
    raw = graph.add("Add", raw, _hold_weight(graph, weights, "head/bias"))
    n_quantiles, median = len(spec.quantiles), spec.median
    shape = graph.hold(np.array([-1, spec.horizon, n_quantiles], np.int64), "head/shape")
    raw_RHQ = graph.add("Reshape", raw, shape)
    if n_quantiles == 1:
        graph.add("Identity", raw_RHQ, output="quantiles")
        return
    sizes = [size for size in (median, 1, n_quantiles - median - 1) if size]
    pieces = graph.split(raw_RHQ, 2, *sizes)
    middle = pieces[1 if median else 0]
    last_axis = graph.hold(np.array(2, np.int64), "head/axis")
    ordered = [middle]
    if median:
        steps = graph.add("Softplus", pieces[0])
        # Summed from the median down, which is from the last of them to the first.
        below = graph.add("CumSum", steps, last_axis, reverse=1)
        ordered.insert(0, graph.add("Sub", middle, below))
    if median < n_quantiles - 1:
        above = graph.add("CumSum", graph.add("Softplus", pieces[-1]), last_axis)
        ordered.append(graph.add("Add", middle, above))
    graph.add("Concat", *ordered, axis=2, output="quantiles")


def _hold_weight(graph: _Nodes, weights: Arrays, name: str) -> str:
    return graph.hold(np.asarray(weights[name], np.float32), name)
