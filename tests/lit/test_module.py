"""The Lightning module does what a plain PyTorch loop does, and nothing that depends on what went before."""

import warnings
from functools import partial

import lightning as L
import pytest
import torch
from torch.utils.data import DataLoader, TensorDataset

import ffrecur
from ffrecur.core.learning import Learning
from ffrecur.core.objectives import objective_of
from ffrecur.data import ImageDataModule
from ffrecur.data.loader import epoch_order
from ffrecur.errors import SettingWarning, UserError
from ffrecur.lit import (
    CharBackpropModule,
    CharModule,
    FeedForwardModule,
    FlatThenLinear,
    RecurrentModule,
    StreamModule,
)
from ffrecur.lit import goodness as lit_goodness
from ffrecur.lit.images import prepare
from ffrecur.negatives.labels import LabelNegatives, hard_labels, uniform_labels
from ffrecur.seeding import seeded_generator

WIDTHS = [12, 10]
SEED = 5


def sgd(rate=0.1):
    return partial(torch.optim.SGD, lr=rate)


def trainer(**settings):
    quiet = {"logger": False, "enable_checkpointing": False, "enable_progress_bar": False}
    return L.Trainer(**{"accelerator": "cpu", "max_epochs": 1, "enable_model_summary": False, **quiet, **settings})


def module(**settings):
    return RecurrentModule(**{"hidden_features": WIDTHS, "seed": SEED, "optimizer": sgd(), **settings})


def digits(**settings):
    return ImageDataModule("digits", **{"batch_size": 20, "seed": SEED, **settings})


class OwnLabels(LabelNegatives):
    def __call__(self, logits_BC, labels_B, noise_BC):
        return (labels_B + 1) % logits_BC.shape[1]


def own_data(count=20, seed=0):
    """Float images and labels that no data module of ours describes."""
    torch.manual_seed(seed)
    return torch.rand(count, 6), torch.arange(count) % 3


def own_loader(batch_size=20, count=20):
    return DataLoader(TensorDataset(*own_data(count)), batch_size=batch_size)


def own_module(**settings):
    return module(in_features=6, num_classes=3, **settings)


def weights(net):
    return {name: tensor.detach().clone() for name, tensor in net.named_parameters()}


def check_equal(one, two):
    assert one.keys() == two.keys()
    for name, tensor in one.items():
        assert torch.equal(tensor, two[name]), name


# --- training ---------------------------------------------------------------------------------------------------------

LEARNING = [
    {},
    {"negatives": "uniform", "objective": "paired", "sign": -1, "update_scheme": "alternating", "iterations": 4},
    {"image_dropout": 0.3, "state_dropout": 0.2, "peer_normalization": 0.05, "threshold": 0.7, "damping": 0.1},
    {"adversarial_length": 0.2, "state_dropout": 0.1, "iterations": 3},
]


def plain_training(data, settings, epochs, rate):
    """Two nested loops of plain PyTorch; returns the net and the mean loss of each epoch's images."""
    torch.manual_seed(SEED)
    of_net = {name: settings[name] for name in ("damping", "sign", "update_scheme") if name in settings}
    net = ffrecur.RecurrentNet(30, WIDTHS, 3, **of_net)
    objective = objective_of(settings.get("objective", "logistic"), settings.get("threshold", 1.0))
    of_learning = ("iterations", "peer_normalization")
    optimizer, losses = torch.optim.SGD(net.parameters(), lr=rate), []
    draw = uniform_labels if settings.get("negatives") == "uniform" else hard_labels
    for epoch in range(epochs):
        order, losses = epoch_order(50, SEED, epoch), []
        for batch, indices in enumerate(order.split(20)):
            images, labels = data.train_set.images[indices].float() / 255, data.train_set.labels[indices]
            source = seeded_generator(SEED, epoch, batch)
            noise = torch.rand(len(indices), 3, generator=source)
            rates = (settings.get("image_dropout", 0.0), settings.get("state_dropout", 0.0))
            masks = net.dropout_masks(len(indices), *rates, source)
            chosen = {name: settings[name] for name in of_learning if name in settings}
            optimizer.zero_grad()
            negatives, learning = partial(draw, noise_BC=noise), Learning(objective=objective, **chosen)
            if length := settings.get("adversarial_length"):
                images = net.adversarial_images(images, labels, negatives, learning, length, masks)
            learned = net.local_learning(images, labels, negatives, learning, masks)
            learned.loss.backward()
            optimizer.step()
            losses.append(learned.loss.item() * len(indices))
    return net, sum(losses) / 50


@pytest.mark.parametrize("settings", LEARNING)
def test_training_is_a_plain_loop_bit_by_bit(workplace, settings):
    data, net = digits(), module(**settings)
    first = trainer(max_epochs=2)
    first.fit(net, datamodule=data)
    expected, loss = plain_training(data, settings, epochs=2, rate=0.1)
    check_equal(weights(net.net), weights(expected))
    for found, wanted in zip(net.net.peer_means(), expected.peer_means(), strict=True):
        assert torch.equal(found, wanted)
    assert first.callback_metrics["train/loss"].item() == pytest.approx(loss, rel=1e-5)


def test_every_batch_is_one_global_step(workplace):
    first = trainer(max_epochs=2)
    first.fit(module(), datamodule=digits())  # 50 training images: batches of 20, 20 and 10
    assert first.global_step == 2 * 3
    first = trainer(max_steps=2, max_epochs=-1)
    first.fit(module(), datamodule=digits())
    assert first.global_step == 2


def noises_of(fit_seed, monkeypatch, before=0, **settings):
    """Train; return each batch's noise of the negatives and dropout masks, in order, as one list a batch."""
    seen = []
    plain = ffrecur.RecurrentNet.local_learning

    def watched(net, images, labels, negatives, learning, masks, average):
        seen.append([negatives.keywords["noise_BC"], *masks])
        return plain(net, images, labels, negatives, learning, masks, average)

    with monkeypatch.context() as patch:
        patch.setattr(ffrecur.RecurrentNet, "local_learning", watched)
        torch.manual_seed(before)
        net = module(seed=fit_seed, image_dropout=0.5, state_dropout=0.5, **settings)
        trainer(max_epochs=2).fit(net, datamodule=digits())
    return seen


def test_noise_depends_on_seed_epoch_and_batch_only(workplace, monkeypatch):
    first = noises_of(0, monkeypatch)
    assert [len(noise) for noise in first] == [4] * 6  # negatives, image, two hidden layers; six batches
    # Neither the global generator nor what has been learned changes the noise.
    again = noises_of(0, monkeypatch, before=99, optimizer=sgd(0.001), objective="paired", iterations=3)
    for one, two in zip(first, again, strict=True):
        assert all(torch.equal(a, b) for a, b in zip(one, two, strict=True))
    other = noises_of(1, monkeypatch)
    drawn = [noise[0][:10] for noise in (*first, *other)]
    for index, one in enumerate(drawn):
        assert not any(torch.equal(one, two) for two in drawn[:index])


def test_epochs_differ_from_seeds(workplace, monkeypatch):
    """Epoch 1 of seed 0 is not epoch 0 of seed 1."""
    zero, one = noises_of(0, monkeypatch), noises_of(1, monkeypatch)
    assert not torch.equal(zero[3][0], one[0][0])


def test_training_leaves_the_global_generator_alone(workplace):
    torch.manual_seed(3)
    state = torch.get_rng_state()
    trainer().fit(module(image_dropout=0.2), datamodule=digits())
    assert torch.equal(torch.get_rng_state(), state)


def test_accumulated_gradients_are_those_of_the_larger_batch(monkeypatch):
    """Without noise, two batches of 10 and one of 20 lead to the same place."""
    monkeypatch.setitem(lit_goodness.NEGATIVES, "uniform", lambda logits, labels, noise_BC: (labels + 1) % 3)
    nets, first = [], own_module().net
    for batch_size, accumulate in ((20, 1), (10, 2)):
        net = own_module(negatives="uniform", optimizer=sgd(1.0))
        fitted = trainer(precision="64-true", accumulate_grad_batches=accumulate)
        fitted.fit(net, own_loader(batch_size))
        assert fitted.global_step == 1
        nets.append(weights(net.net))
    for name, tensor in nets[0].items():
        torch.testing.assert_close(nets[1][name], tensor, rtol=1e-11, atol=1e-12)
        assert not torch.equal(tensor.float(), weights(first)[name])


def change(**settings):
    """What one step of plain descent with rate 1 changes: minus the gradient, of all parameters in one row."""
    net = own_module(optimizer=sgd(1.0))
    before = torch.cat([tensor.ravel() for tensor in weights(net.net).values()]).double()
    trainer(precision="64-true", **settings).fit(net, own_loader())
    return torch.cat([tensor.ravel() for tensor in weights(net.net).values()]) - before


def test_clipping_shortens_the_gradient_of_all_layers_together():
    whole = change()
    limit = whole.norm().item() / 7
    clipped = change(gradient_clip_val=limit)
    # Lightning divides by the norm plus 1e-6, as PyTorch does.
    torch.testing.assert_close(clipped, whole / 7, rtol=1e-4, atol=1e-10)
    assert clipped.norm().item() == pytest.approx(limit, rel=1e-5)
    torch.testing.assert_close(change(gradient_clip_val=whole.norm().item() * 2), whole, rtol=0, atol=0)


def test_the_schedule_is_stepped_once_an_epoch(workplace):
    net, rates = module(lr_scheduler=partial(FlatThenLinear, epochs=4, flat=0.0), optimizer=sgd(0.4)), []
    watch = L.pytorch.callbacks.LambdaCallback(
        on_train_batch_start=lambda trainer, *_: rates.append(trainer.optimizers[0].param_groups[0]["lr"]),
    )
    trainer(max_epochs=3, callbacks=[watch]).fit(net, datamodule=digits())
    assert rates == pytest.approx([0.4] * 3 + [0.3] * 3 + [0.2] * 3)


def rates_after(path, **settings):
    net = RecurrentModule.load_from_checkpoint(path, **settings)
    going_on = trainer(max_epochs=3)
    going_on.fit(net, datamodule=digits(), ckpt_path=path)
    return [group["lr"] for group in going_on.optimizers[0].param_groups]


def test_a_run_goes_on_at_its_own_rate_where_no_optimiser_is_given_again(workplace):
    net = module(optimizer=partial(torch.optim.Adam, lr=0.03), head_learning_rate_scale=0.5)
    first = trainer(max_epochs=1)
    first.fit(net, datamodule=digits())
    first.save_checkpoint("first.ckpt")
    assert rates_after("first.ckpt") == [0.03, 0.03, 0.015, 0.015]
    assert rates_after("first.ckpt", optimizer=partial(torch.optim.Adam, lr=0.2)) == [0.2, 0.2, 0.1, 0.1]


def test_a_loaded_net_keeps_the_statistics_of_the_images_that_it_was_trained_on(workplace):
    first = trainer(max_epochs=1)
    first.fit(module(standardize_images=True), datamodule=digits())
    first.save_checkpoint("first.ckpt")
    net = RecurrentModule.load_from_checkpoint("first.ckpt", optimizer=sgd())
    before = net.net.statistics.mean.clone()
    assert before.any()
    brighter = digits()
    brighter.setup("fit")
    brighter.train_set = brighter.train_set._replace(images=255 - brighter.train_set.images)
    trainer(max_epochs=1).fit(net, datamodule=brighter)
    assert torch.equal(net.net.statistics.mean, before)


@pytest.mark.parametrize("window", [3, (3, 5, 7), (0, 2)])
def test_a_window_is_two_iterations(window):
    with pytest.raises(UserError, match="window is .*, but must be two iterations"):
        RecurrentModule(window=window)


def test_a_schedule_that_is_not_given_again_is_warned_of(workplace):
    net = module(optimizer=partial(torch.optim.Adam, lr=0.03), lr_scheduler=partial(FlatThenLinear, epochs=6, flat=0))
    first = trainer(max_epochs=2)
    first.fit(net, datamodule=digits())
    first.save_checkpoint("first.ckpt")
    with pytest.warns(SettingWarning, match="lr_scheduler is None, but the run that is continued had FlatThenLinear"):
        assert rates_after("first.ckpt") == [0.03] * 4
    found = rates_after("first.ckpt", lr_scheduler=partial(FlatThenLinear, epochs=6, flat=0))
    assert found == pytest.approx([0.015] * 4), "three of six epochs are left"


def test_another_seed_of_lightnings_is_warned_of(workplace, monkeypatch):
    monkeypatch.setenv("PL_GLOBAL_SEED", "5")
    with pytest.warns(SettingWarning, match="seed is 0, but seed_everything was given 5"):
        trainer(max_epochs=1).fit(module(seed=0), datamodule=digits())
    with warnings.catch_warnings():
        warnings.simplefilter("error", SettingWarning)
        trainer(max_epochs=1).fit(module(seed=5), datamodule=digits())


def test_a_loss_that_is_not_finite_stops_training_before_the_step():
    images, labels = own_data()
    images[13] = torch.nan
    net = own_module()
    before = weights(net.net)
    with pytest.raises(
        ffrecur.UserError,
        match=r"^the goodness of layer 1, iteration 1, on positive data, is nan in epoch 0, batch 1: training has",
    ):
        trainer().fit(net, DataLoader(TensorDataset(images, labels), batch_size=10))
    assert all(tensor.isfinite().all() for tensor in weights(net.net).values())
    expected = own_module()
    first_half = TensorDataset(images[:10], labels[:10])
    trainer().fit(expected, DataLoader(first_half, batch_size=10))
    check_equal(weights(net.net), weights(expected.net))
    assert not torch.equal(before["head.weight"], net.net.head.weight)


# --- first weights ----------------------------------------------------------------------------------------------------


def test_first_weights_depend_on_the_seed_and_the_sizes_only(workplace):
    torch.manual_seed(17)
    state = torch.get_rng_state()
    first = own_module()
    assert torch.equal(torch.get_rng_state(), state)
    learning = {"objective": "paired", "temperature": 0.3, "iterations": 2, "image_dropout": 0.4, "weight_decay": 0.1}
    torch.rand(5)
    other = own_module(**learning, sign=-1, damping=0.9, update_scheme="alternating", optimizer=torch.optim.Adam)
    check_equal(weights(first.net), weights(other.net))
    torch.manual_seed(SEED)
    check_equal(weights(first.net), weights(ffrecur.RecurrentNet(6, WIDTHS, 3)))
    assert not torch.equal(own_module(seed=SEED + 1).net.bottom_up[0].weight, first.net.bottom_up[0].weight)


def test_sizes_learned_from_the_data_give_the_same_net_as_sizes_given(workplace):
    learned, given = module(), module(in_features=30, num_classes=3)
    assert learned.net is None
    data = digits()
    data.setup("fit")
    learned.match_data(data)
    learned.configure_model()
    check_equal(weights(learned.net), weights(given.net))
    assert (learned.hparams["in_features"], learned.hparams["num_classes"]) == (30, 3)


# --- evaluation -------------------------------------------------------------------------------------------------------


def test_validation_measures_the_net_without_dropout(workplace, monkeypatch):
    data, net = digits(), module(image_dropout=0.9, state_dropout=0.9)
    trainer().fit(net, datamodule=data)
    monkeypatch.delattr(ffrecur.RecurrentNet, "dropout_masks")
    (results,) = trainer().validate(net, datamodule=data, verbose=False)
    images, labels = data.validation_set.images / 255, data.validation_set.labels
    assert len(labels) == 10
    assert results["val/error"] == pytest.approx((net.net.classify(images) != labels).double().mean().item())
    one_pass = net.net.one_pass_logits(images).argmax(dim=1)
    assert results["val/one_pass_error"] == pytest.approx((one_pass != labels).double().mean().item())
    goodness_TL = net.net.goodness(images, labels, iterations=8).mean(dim=-1)
    torch.testing.assert_close(net.evaluation.compute()["goodness_positive"], goodness_TL, rtol=1e-5, atol=1e-6)


def test_validation_while_training_stops_at_the_windows_end(workplace, monkeypatch):
    asked, plain = [], ffrecur.RecurrentNet.judged

    def watched(net, images, iterations):
        asked.append(iterations)
        return plain(net, images, iterations)

    monkeypatch.setattr(ffrecur.RecurrentNet, "judged", watched)
    data, net = digits(), module(window=(2, 3), evaluation_iterations=6)
    fitted = trainer(max_epochs=2, num_sanity_val_steps=0)
    fitted.fit(net, datamodule=data)
    assert asked == [3, 3]
    error = fitted.callback_metrics["val/error"].item()
    asked.clear()
    (results,) = trainer().validate(net, datamodule=data, verbose=False)
    assert asked == [6]
    assert results["val/error"] == error  # the iterations that were left out do not matter
    asked.clear()
    trainer().test(net, datamodule=data, verbose=False)
    assert asked == [6]


def test_prediction_returns_the_scores_of_every_label(workplace):
    data, net = digits(evaluation_batch_size=8), module(window=(1, 2), sign=-1)
    trainer().fit(net, datamodule=data)
    scores = trainer().predict(net, datamodule=data)
    assert scores is not None
    assert [tuple(part.shape) for part in scores] == [(8, 3), (8, 3), (4, 3)]
    expected = net.net.score(data.predict_set.images / 255, window=(1, 2))
    torch.testing.assert_close(torch.cat(scores), expected, rtol=1e-5, atol=1e-6)


def test_bytes_become_fractions_and_frames_come_first():
    still = torch.tensor([[0, 51, 255]], dtype=torch.uint8)
    assert torch.equal(prepare(still), torch.tensor([[0, 0.2, 1]]))
    video = torch.randint(0, 256, (2, 5, 3), dtype=torch.uint8)
    prepared = prepare(video)
    assert prepared.shape == (5, 2, 3)
    assert torch.equal(prepared[4, 1], video[1, 4] / 255)
    floats = torch.rand(2, 3) * 7
    assert prepare(floats) is floats  # whoever brings floats has scaled them


# --- data of one's own ------------------------------------------------------------------------------------------------


def test_loaders_of_ones_own_work_where_the_sizes_are_given():
    images, labels = own_data()
    net = own_module()
    fitted = trainer(max_epochs=3)
    fitted.fit(net, own_loader(batch_size=5), own_loader())
    assert fitted.global_step == 3 * 4
    error = fitted.callback_metrics["val/error"].item()
    assert error == pytest.approx((net.net.classify(images) != labels).double().mean().item())


@pytest.mark.parametrize(
    ("given", "missing"),
    [({}, "in_features"), ({"num_classes": 3}, "in_features"), ({"in_features": 6}, "num_classes")],
)
def test_loaders_of_ones_own_are_refused_without_the_sizes(given, missing):
    where = f"by model.{missing}, or by an attribute {missing} of the data module"
    with pytest.raises(
        ffrecur.UserError, match=f"^{missing} is None, but must be given where the data does not tell it: {where}$"
    ):
        trainer().fit(module(**given), own_loader())


def test_images_of_another_size_are_refused(workplace):
    with pytest.raises(ffrecur.UserError, match="^in_features of the net is 29, but the data has 30;"):
        trainer().fit(module(in_features=29), datamodule=digits())
    with pytest.raises(ffrecur.UserError, match="^num_classes of the net is 4, but the data has 3;"):
        trainer().fit(module(num_classes=4), datamodule=digits())
    with pytest.raises(ffrecur.UserError, match=r"images have the shape \(20, 6\), but the net reads \(batch, 7\)"):
        trainer().fit(module(in_features=7, num_classes=3), own_loader())


# --- checkpoints ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("settings", [{}, {"sign": -1, "damping": 0.0, "update_scheme": "alternating"}])
def test_a_checkpoint_gives_the_same_scores_either_way(workplace, settings):
    net, fitted = module(peer_normalization=0.1, **settings), trainer()
    fitted.fit(net, datamodule=digits())
    fitted.save_checkpoint("own.ckpt")
    images = torch.rand(7, 30)
    scores = net.net.score(images)
    loaded = RecurrentModule.load_from_checkpoint("own.ckpt")
    assert torch.equal(loaded.net.score(images), scores)
    assert torch.equal(ffrecur.load("own.ckpt").score(images), scores)
    assert loaded.net.settings() == ffrecur.load("own.ckpt").settings() == net.net.settings()
    for own, other in zip(net.net.peer_means(), loaded.net.peer_means(), strict=True):
        assert torch.equal(own, other)
    assert torch.load("own.ckpt", weights_only=True)["global_step"] == 3


class Fourth(ffrecur.Goodness):
    """The mean of the fourth powers."""

    def value(self, state_BH):
        return state_BH.pow(4).mean(dim=-1, keepdim=True)


def test_a_goodness_of_ones_own_is_given_again(tmp_path):
    fitted = trainer()
    fitted.fit(own_module(goodness=Fourth()), own_loader())
    fitted.save_checkpoint(tmp_path / "own.ckpt")
    with pytest.raises(
        ffrecur.UserError, match="goodness is the mean square, but .* was trained with .*Fourth: give it"
    ):
        RecurrentModule.load_from_checkpoint(tmp_path / "own.ckpt")
    again = RecurrentModule.load_from_checkpoint(tmp_path / "own.ckpt", goodness=Fourth())
    images, _ = own_data()
    assert torch.equal(again.net.score(images), ffrecur.load(tmp_path / "own.ckpt", goodness=Fourth).score(images))


def test_an_objectives_own_temperature_is_that_of_the_evaluation():
    assert module(objective=ffrecur.Paired(0.3)).temperature == 0.3
    assert module(objective="paired", temperature=0.2).temperature == 0.2


def test_settings_whose_place_has_changed_are_given_by_name():
    in_order = ([6], 4, 3, 0.1, -1, "alternating", "paired", 2.0, 0.3, 5, 6, (2, 4), 0.5, 0.1, "constant")
    assert RecurrentModule(*in_order).hparams["memory"] == "constant"
    for made, places in ((RecurrentModule, (*in_order, 0.1)), (CharModule, ([6], 4)), (CharBackpropModule, ([6], 4))):
        with pytest.raises(TypeError, match="positional"):
            made(*places)


def test_settings_come_back_with_the_module(workplace):
    settings = {"window": (2, 4), "temperature": 0.2, "image_dropout": 0.1, "negatives": "uniform", "weight_decay": 0.3}
    fitted = trainer(max_steps=1)
    fitted.fit(module(**settings), datamodule=digits())
    fitted.save_checkpoint("own.ckpt")
    loaded = RecurrentModule.load_from_checkpoint("own.ckpt")
    assert loaded.window == (2, 4)
    assert loaded.learning.objective.temperature == 0.2
    assert (loaded.image_dropout, loaded.negatives, loaded.weight_decay) == (0.1, "uniform", 0.3)
    assert (loaded.hparams["in_features"], loaded.hparams["num_classes"], loaded.seed) == (30, 3, SEED)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (
            partial(RecurrentModule, negatives_per_case=2),
            "negatives_per_case is 2, but must be 1 with an objective of all",
        ),
        (partial(CharModule, negatives_per_case=2), "negatives_per_case is 2, but must be 1 with an objective of all"),
        (partial(CharModule, negatives="dream"), "negatives are dreamt, but an objective of all candidates"),
        (partial(CharModule, negatives="self_generated"), "negatives are dreamt, but an objective of all candidates"),
    ],
)
def test_negatives_that_an_objective_of_all_candidates_would_leave_out(make, message):
    make(objective="paired")
    make = partial(make, objective="softmax")
    with pytest.raises(UserError, match=message):
        make()


@pytest.mark.parametrize("make", [RecurrentModule, FeedForwardModule, CharModule, StreamModule])
@pytest.mark.parametrize(
    "chosen", [{"objective": "softmax"}, {"objective": "sampled_softmax", "negatives_per_case": 4}]
)
def test_negatives_that_an_objective_does_not_look_at_are_warned_of(make, chosen):
    told = f"negatives is uniform, but has no effect with {chosen['objective']}, which chooses wrong answers itself"
    with pytest.warns(SettingWarning, match=told):
        make(negatives="uniform", **chosen)
    with warnings.catch_warnings():
        warnings.simplefilter("error", SettingWarning)
        make(**chosen)
        make(negatives="uniform", objective="paired")


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (RecurrentModule, "negatives_per_case is 1, but must be at least 2 with sampled_softmax"),
        (CharModule, "negatives_per_case is 1, but must be at least 2 with sampled_softmax"),
        (StreamModule, "negatives_per_case is 1, but must be at least 2 with sampled_softmax"),
        (
            partial(CharModule, negatives_per_case=4, negatives="dream"),
            "negatives are dreamt, but sampled_softmax takes no dreams",
        ),
        (
            partial(RecurrentModule, negatives_per_case=4, sleep=1),
            "objective is 'sampled_softmax', but must be logistic with phases apart",
        ),
        (
            partial(RecurrentModule, negatives_per_case=4, negatives=OwnLabels()),
            "negatives is a OwnLabels, but sampled_softmax chooses wrong answers itself: leave negatives out",
        ),
    ],
)
def test_what_a_sampled_softmax_cannot_have(make, message):
    with pytest.raises(UserError, match=message):
        make(objective="sampled_softmax")


@pytest.mark.parametrize(
    ("settings", "sentences"),
    [
        (
            {"negatives": "none", "goodness_weight": 3.0, "objective": "logistic", "sleep": 1},
            [
                "goodness_weight is 3, but with negatives none no goodness is learned: give 0",
                "sleep is given, but has no",
            ],
        ),
        (
            {"negatives": "none", "objective": "logistic", "deprivation": (1, 1)},
            ["deprivation is given, but has no effect with negatives none"],
        ),
        (
            {"negatives": "self_generated", "dream_depth": (2, 3)},
            ["dream_depth is given, but has no effect with negatives self_generated"],
        ),
        (
            {"negatives": "none", "dream_temperature": 0.5},
            ["dream_temperature is given, but has no effect with negatives none"],
        ),
        (
            {"negatives": "teacher_forcing", "dream_depth": [1, 9], "dream_every": 3, "dream_every_steps": 2},
            ["dream_depth is given, but", "dream_every is given, but", "dream_every_steps is given, but"],
        ),
        ({"threshold": 5.0}, ["threshold is 5.0, but has no effect with the objective paired, which has none"]),
        ({"objective": "logistic", "threshold": 5.0}, []),
        ({"negatives": "dream", "dream_depth": [1, 9], "dream_every_steps": 2}, []),
        ({"negatives": "none"}, []),
        ({"negatives": "self_generated"}, []),
    ],
)
def test_settings_that_the_negatives_make_no_use_of_are_warned_of(settings, sentences):
    with warnings.catch_warnings(record=True) as found:
        warnings.simplefilter("always")
        CharModule(hidden_features=[4], **settings)
    said = [str(each.message) for each in found if issubclass(each.category, SettingWarning)]
    assert len(said) == len(sentences)
    assert all(line.startswith(sentence) for line, sentence in zip(said, sentences, strict=True)), said
