"""Several processes that train as one: here threads, whose sums are plain ones."""

import shutil
import threading
from dataclasses import replace

import numpy as np
import pytest

from contract.conftest import MSE, PINBALL, SPECS, draw_batch, draw_weights
from explstm import ExpLSTM
from explstm.config import TrainingConfig
from explstm.errors import TrainingError, UsageError
from explstm.models.engine import OptimizerConfig, make_engine
from explstm.models.spec import init_weights
from explstm.origins import Batch
from explstm.team import Team, TeamEngine, take_slice
from explstm.training import train
from panels import grow, make_panel
from toy_run import SPEC as TOY_SPEC
from toy_run import ToyBatches
from toy_team import run_team

BACKENDS = ("torch", "tensorflow")
ADAM = OptimizerConfig("adam", 0.9, 0.999, 1e-8, 0.0, 0.5)
PLAIN = TOY_SPEC.model_copy(update={"batch_norm": False, "dropout": 0.0})


def largest_difference(one, other):
    return max(float(np.abs(one[name] - other[name]).max()) for name in one)


def uneven_batch(spec, step=0, n_series=5):
    """Series with different numbers of origins, some without a known future, one without any."""
    batch = draw_batch(spec, n_series=n_series, n_steps=7, seed=step)
    origins_BT = batch.origins_BT.copy()
    origins_BT[0, :4] = False
    origins_BT[1] = False
    kept_R = origins_BT[batch.origins_BT]
    weights_RH = batch.weights_RH[kept_R].copy()
    weights_RH[:3] *= 0.25
    return replace(
        batch,
        origins_BT=origins_BT,
        targets_RH=batch.targets_RH[kept_R],
        weights_RH=weights_RH,
    )


# ---------------------------------------------------------------------------------------- slices


def test_slices_are_the_series_of_a_batch_one_after_the_other():
    origins_BT = np.array([[1, 1, 0], [0, 0, 0], [1, 0, 0], [0, 1, 1]], dtype=bool)
    targets_RH = np.arange(5, dtype=np.float32)[:, None]
    features_BTF = np.arange(12, dtype=np.float32).reshape(4, 3, 1)
    batch = Batch(features_BTF, np.full(4, 3), origins_BT, targets_RH, targets_RH + 10)
    first, second = (take_slice(batch, rank, 2) for rank in range(2))
    assert first.targets_RH.ravel().tolist() == [0, 1] and first.origins_BT.shape == (2, 2)
    assert second.targets_RH.ravel().tolist() == [2, 3, 4]
    np.testing.assert_array_equal(second.features_BTF, features_BTF[2:])
    np.testing.assert_array_equal(second.weights_RH, second.targets_RH + 10)
    sizes = [len(take_slice(batch, rank, 6).origins_BT) for rank in range(6)]
    assert sorted(sizes) == [0, 0, 1, 1, 1, 1]


@pytest.mark.parametrize(("backend", "size"), [("torch", 2), ("torch", 7), ("tensorflow", 3)])
def test_loss_and_gradients_are_those_of_the_whole_batch(backend, size):
    spec = SPECS["two_layers"]
    batch, weights = uneven_batch(spec), draw_weights(spec)
    alone = make_engine(backend, spec, weights)
    alone.compile(ADAM, PINBALL)
    loss, gradients = alone.differentiate(batch)

    def work(team):
        engine = TeamEngine(make_engine(backend, spec, weights), team)
        engine.compile(ADAM, PINBALL)
        return engine.differentiate(batch), engine.evaluate(batch)

    for (shared_loss, shared), evaluated in run_team(size, work):
        assert shared_loss == pytest.approx(loss, rel=1e-6)
        assert evaluated == pytest.approx(alone.evaluate(batch), rel=1e-6)
        assert largest_difference(gradients, shared) < 1e-6


# ----------------------------------------------------------------------------------------- steps


@pytest.mark.parametrize("loss", [MSE, PINBALL], ids=lambda loss: loss.name)
@pytest.mark.parametrize("backend", BACKENDS)
def test_ten_steps_of_two_and_of_three_are_those_of_one(backend, loss):
    spec = SPECS["two_layers"]
    weights, batches = draw_weights(spec), [uneven_batch(spec, step) for step in range(10)]

    def work(team):
        engine = make_engine(backend, spec, weights)
        engine = engine if team is None else TeamEngine(engine, team)
        engine.compile(ADAM, loss)
        losses = [engine.train_batch(batch, 0.01) for batch in batches]
        return losses, engine.dump_weights(), engine.dump_optimizer()

    losses, alone, moments = work(None)
    assert largest_difference(draw_weights(spec), alone) > 0.01
    for size in (2, 3)[: 1 + (backend == "torch")]:  # graphs take seconds to make
        members = run_team(size, work)
        for shared_losses, shared, shared_moments in members:
            np.testing.assert_allclose(shared_losses, losses, rtol=1e-5)
            assert largest_difference(alone, shared) < 1e-5
            assert largest_difference(moments, shared_moments) < 1e-5
            assert largest_difference(members[0][1], shared) == 0


@pytest.mark.parametrize("backend", BACKENDS)
def test_a_step_along_given_gradients_is_the_step_of_a_batch(backend):
    spec, rate = SPECS["dense"], 0.01
    whole, halves = (make_engine(backend, spec, draw_weights(spec)) for _ in range(2))
    for engine in (whole, halves):
        engine.compile(ADAM, MSE)
    for step in range(3):
        batch = uneven_batch(spec, step)
        loss, gradients = halves.differentiate(batch)
        halves.apply_gradients(gradients, rate)
        assert whole.train_batch(batch, rate) == loss
    assert largest_difference(whole.dump_weights(), halves.dump_weights()) < 1e-7
    assert largest_difference(whole.dump_optimizer(), halves.dump_optimizer()) < 1e-7


@pytest.mark.parametrize("backend", BACKENDS)
def test_members_draw_dropout_of_their_own(backend):
    spec = SPECS["dropout"]
    batch = draw_batch(spec, n_series=4)

    def work(team):
        engine = make_engine(backend, spec, draw_weights(spec))
        shared = TeamEngine(engine, team)
        shared.compile(ADAM, MSE, seed=1)
        return engine.differentiate(batch)[0], shared.differentiate(batch)[0]

    (first, shared), (second, _) = run_team(2, work)
    assert first != second
    assert shared == run_team(2, work)[0][1]


# ------------------------------------------------------------------------------------- refusals


def test_a_network_that_normalises_over_batches_is_refused():
    engine = make_engine("torch", SPECS["batch_norm"], draw_weights(SPECS["batch_norm"]))
    with pytest.raises(UsageError, match="batch_norm=True takes its statistics from whole batches"):
        TeamEngine(engine, Team(0, 2, lambda array: array))


def test_members_with_other_data_do_not_go_on():
    spec = SPECS["one_layer"]

    def work(team):
        engine = TeamEngine(make_engine("torch", spec, draw_weights(spec)), team)
        engine.compile(ADAM, MSE)
        engine.train_batch(uneven_batch(spec, n_series=4 + team.rank), 0.01)

    with pytest.raises(TrainingError, match="WORKERS_DISAGREE: worker 1 is at step 0"):
        run_team(2, work)


def test_members_at_other_steps_do_not_go_on():
    spec = SPECS["one_layer"]

    def work(team):
        engine = TeamEngine(make_engine("torch", spec, draw_weights(spec)), team)
        engine.compile(ADAM, MSE)
        if team.rank == 1:
            engine.load_optimizer({**engine.dump_optimizer(), "step": np.array(3)})
        engine.train_batch(uneven_batch(spec), 0.01)

    with pytest.raises(TrainingError, match=r"worker 1 is at step 3 .* the first one at step 0"):
        run_team(2, work)


# -------------------------------------------------------------------------------------- trainings

CONFIG = TrainingConfig(
    max_steps=12, learning_rate=0.02, val_size=2, val_check_steps=3, batch_size=4
)


class KilledError(Exception):
    """What ends a member here as SIGKILL would there: nothing is written on the way."""


def run_training(backend, folder, team=None, *, die_at=None, spec=PLAIN, resume=False):
    def on_step(row):
        if row.step == die_at and (team is None or team.rank == team.size - 1):
            raise KilledError

    engine = make_engine(backend, spec, init_weights(spec, 3))
    return train(
        engine,
        ToyBatches(),
        CONFIG,
        validate=lambda engine: engine.evaluate(ToyBatches().batch(10**6)),
        checkpoint_dir=folder,
        resume=resume,
        on_step=on_step,
        team=team,
    )


@pytest.mark.parametrize("backend", BACKENDS)
def test_a_lost_member_costs_nothing_but_time(backend, tmp_path):
    whole = run_team(2, lambda team: run_training(backend, tmp_path / "whole", team))
    lost = tmp_path / "lost"
    with pytest.raises((KilledError, threading.BrokenBarrierError)):
        run_team(2, lambda team: run_training(backend, lost, team, die_at=8))
    assert [path.name for path in lost.glob("step-*")]
    # With another number of members, or without others, it is the same run.
    for size in (2, None, 3)[: 3 if backend == "torch" else 1]:
        folder = shutil.copytree(lost, tmp_path / str(size))
        if size is None:
            ended = [run_training(backend, folder, resume=True)]
        else:
            ended = run_team(
                size, lambda team, at=folder: run_training(backend, at, team, resume=True)
            )
        for one in ended:
            bound = 0 if size == 2 else 1e-5
            assert largest_difference(whole[0].weights, one.weights) <= bound
            assert [row.step for row in one.log] == [row.step for row in whole[0].log]


def test_only_the_first_member_writes(tmp_path):
    kept = []

    def work(team):
        own = tmp_path / str(team.rank)
        return run_training("torch", own, team)

    run_team(2, work, keep=kept.append)
    assert not list((tmp_path / "1").glob("step-*"))
    assert len(list((tmp_path / "0").glob("step-*"))) == 2
    assert kept == [tmp_path / "0"] * 4


def test_members_with_other_checkpoints_do_not_go_on(tmp_path):
    run_team(1, lambda team: run_training("torch", tmp_path / "0", team))

    def work(team):
        return run_training("torch", tmp_path / str(team.rank), team, resume=True)

    with pytest.raises(TrainingError, match=r"the newest checkpoint in .* is of step -1 here"):
        run_team(2, work)


def test_with_dropout_the_number_of_members_is_part_of_the_run(tmp_path):
    spec = PLAIN.model_copy(update={"dropout": 0.2})
    run_team(2, lambda team: run_training("torch", tmp_path, team, spec=spec))
    with pytest.raises(UsageError, match=r"RESUME_CHANGED.*workers \(2 then, 3 now\)"):
        run_team(3, lambda team: run_training("torch", tmp_path, team, spec=spec, resume=True))


@pytest.mark.parametrize(
    ("backend", "init"),
    [("torch", "random"), ("torch", "pretrained"), ("tensorflow", "random")],
)
def test_a_fit_of_two_is_the_fit_of_one(backend, init):
    rng = np.random.default_rng(0)
    panel = make_panel(*(grow(rng, steps) for steps in (60, 40, 25, 60, 9, 33, 50)))
    options = {"max_steps": 12, "val_check_steps": 4, "batch_size": 4, "loss": "mse"}
    if init == "random":
        options |= {"val_size": 4, "spec": PLAIN.model_copy(update={"quantiles": (0.5,)})}

    def fit(team):
        model = ExpLSTM(backend=backend, init=init, **options)
        return model.fit(panel, h=4, team=team)

    one, two = fit(None), run_team(2, fit)[0]
    assert two.share_ == one.share_
    assert largest_difference(one.weights_, two.weights_) < 1e-5
    ends = [[row.valid_loss or row.train_loss for row in of.training_log_][-1] for of in (one, two)]
    assert ends[1] == pytest.approx(ends[0], rel=0.02)
