"""The parts of Lightning that `compatibility.py` tries, and how each is asked for."""

from __future__ import annotations

from typing import NamedTuple

from compatibility_checks import Check, changes_the_weights, finds_a_rate, has_figure, has_file, made_steps, prints


class Part(NamedTuple):
    """A part of Lightning: how it is asked for, and what is checked apart from that it trains, is tested and goes on."""

    group: str
    name: str
    options: list[str]
    check: Check | None = None
    processes: bool = False  # it starts others, so that it is run as a program


def callback(name: str, *settings: str, check: Check | None = None) -> Part:
    """Return the part for a callback with these settings, such as `monitor=train/loss`."""
    options = [f"--trainer.callbacks.{setting}" for setting in settings]
    return Part("callbacks", name, [f"--trainer.callbacks+={name}", *options], check)


def one_of(group: str, setting: str, *names: str) -> list[Part]:
    """Return a part for each value of a setting of the trainer."""
    return [Part(group, name, [f"--trainer.{setting}={name}"]) for name in names]


def logger(name: str, written: str) -> Part:
    """Return the part for a logger that writes a file of this name."""
    return Part(
        "loggers", name, [f"--trainer.logger={name}", "--trainer.logger.save_dir=logs"], has_file(f"logs/*/*/{written}")
    )


def processes(strategy: str) -> Part:
    """Return the part for a strategy with two processes."""
    return Part("strategies", strategy, [f"--trainer.strategy={strategy}", "--trainer.devices=2"], processes=True)


def flag(setting: str, check: Check | None = None, *more: str) -> Part:
    """Return the part for a flag of the trainer, such as `max_steps=2`."""
    return Part("flags", setting, [f"--trainer.{setting}", *(f"--trainer.{other}" for other in more)], check)


FINDER = [
    "--trainer.callbacks+=LearningRateFinder",
    "--trainer.callbacks.num_training_steps=18",
    "--trainer.max_epochs=8",
]
PARTS = [
    callback("BackboneFinetuning"),
    callback("BatchSizeFinder"),
    callback("DeviceStatsMonitor"),
    callback("EarlyStopping", "monitor=train/loss", "mode=max", "patience=1"),
    callback("EMAWeightAveraging", "decay=0.9", check=changes_the_weights),
    callback("GradientAccumulationScheduler", "scheduling={0: 3}", check=made_steps(2)),
    callback("LambdaCallback"),
    Part("callbacks", "LearningRateFinder", FINDER, finds_a_rate),
    callback("LearningRateMonitor", check=has_figure("lr-Adam/pg1")),
    callback("ModelCheckpoint", "monitor=train/loss", "save_top_k=3", "dirpath=more", check=has_file("more/*.ckpt")),
    callback("ModelPruning", "pruning_fn=l1_unstructured", "amount=0.1", check=changes_the_weights),
    callback("ModelSummary", "max_depth=2"),
    callback("OnExceptionCheckpoint", "dirpath=more"),
    callback("RichModelSummary"),
    callback("RichProgressBar"),
    callback("SpikeDetection"),
    callback("StochasticWeightAveraging", "swa_lrs=0.01", "swa_epoch_start=1", check=changes_the_weights),
    callback("ThroughputMonitor", "batch_size_fn=builtins.len"),
    callback("Timer", "duration=00:01:00:00"),
    callback("TQDMProgressBar", check=prints("Epoch 1")),
    callback("WeightAveraging", check=changes_the_weights),
    *one_of("loggers", "logger", "CometLogger", "lightning.pytorch.loggers.LitLogger", "MLFlowLogger", "WandbLogger"),
    logger("CSVLogger", "metrics.csv"),
    logger("TensorBoardLogger", "events*"),
    *one_of("loggers", "logger", "false", "true"),
    *one_of("profilers", "profiler", "simple", "advanced", "pytorch", "xla", "PassThroughProfiler"),
    *one_of("precisions", "precision", "32-true", "64-true", "bf16-mixed", "16-mixed", "bf16-true", "16-true"),
    *one_of("precisions", "precision", "transformer-engine", "transformer-engine-float16"),
    *one_of("strategies", "strategy", "auto", "single_device"),
    processes("ddp"),
    processes("ddp_find_unused_parameters_true"),
    *one_of("strategies", "strategy", "ddp_spawn", "ddp_fork", "ddp_notebook", "fsdp", "deepspeed", "xla"),
    *one_of("flags", "accelerator", "cpu", "gpu"),
    flag("devices=1"),
    flag("fast_dev_run=true"),
    flag("max_epochs=3"),
    flag("min_epochs=3", None, "max_epochs=3"),
    flag("max_steps=2", made_steps(2)),
    flag("min_steps=2"),
    flag("max_time=00:01:00:00"),
    flag("limit_train_batches=1", made_steps(2)),
    flag("limit_val_batches=1"),
    flag("limit_test_batches=1"),
    flag("limit_predict_batches=1"),
    flag("overfit_batches=1", made_steps(2)),
    flag("val_check_interval=2"),
    flag("check_val_every_n_epoch=2"),
    flag("num_sanity_val_steps=1"),
    flag("log_every_n_steps=1"),
    flag("enable_checkpointing=false"),
    flag("enable_progress_bar=false"),
    flag("enable_model_summary=false"),
    flag("accumulate_grad_batches=3", made_steps(2)),
    flag("gradient_clip_val=0.5", changes_the_weights),
    flag("gradient_clip_algorithm=value", changes_the_weights, "gradient_clip_val=0.5"),
    flag("deterministic=true"),
    flag("benchmark=true"),
    flag("inference_mode=false"),
    flag("use_distributed_sampler=false"),
    flag("detect_anomaly=true"),
    flag("barebones=true"),
    flag("sync_batchnorm=true"),
    flag("reload_dataloaders_every_n_epochs=1"),
    flag("default_root_dir=elsewhere", has_file("elsewhere/*/last.ckpt")),
    flag("enable_autolog_hparams=false"),
    flag("model_registry=nets"),
    flag("num_nodes=1"),
    flag("logger=false", has_figure("train/loss")),
    flag("profiler=null"),
    flag("plugins=null"),
    flag("callbacks=null"),
    flag("precision=32"),
    flag("strategy=auto"),
]
