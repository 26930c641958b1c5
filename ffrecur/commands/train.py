"""The command line: `ffrecur fit | validate | test | predict`, a LightningCLI."""

from __future__ import annotations

import sys
import tempfile
from contextlib import ExitStack, nullcontext
from pathlib import Path
from typing import Any

import yaml
from lightning import LightningDataModule, LightningModule, Trainer
from lightning.fabric.plugins import CheckpointIO
from lightning.pytorch.cli import LightningArgumentParser, LightningCLI
from lightning.pytorch.utilities import rank_zero_only
from lightning.pytorch.utilities.exceptions import MisconfigurationException

from ffrecur.errors import UserError, check_seed, check_setting
from ffrecur.lit.module import OPTIMIZER_KEY, NetModule
from ffrecur.lit.report.callbacks import Minutes, PredictionWriter, Report, TextSamples
from ffrecur.lit.run.arguments import after_subcommand, expand_home, files_first, typed_with_home
from ffrecur.lit.run.boundary import Named, failed, named_classes, to_tell
from ffrecur.lit.run.checkpoint_io import WholeCheckpointIO
from ffrecur.lit.run.config import RunConfig, check_written, stored_settings, typed_value, without_training
from ffrecur.lit.run.csv_logger import ContinuedCSVLogger
from ffrecur.lit.run.default_classes import DEFAULT_CLASSES, default_classes
from ffrecur.lit.run.equipment import BestCheckpoint, check_settings, check_trainer, listed, loggers_of, progress
from ffrecur.lit.run.folders import (
    BEST,
    LAST,
    SameCheckpoint,
    begins_anew,
    checkpoint_to_use,
    new_run_folder,
    of_same_source,
    reserved_run_folder,
    run_of,
    warn_of_another_split,
)
from ffrecur.lit.run.help import arrange
from ffrecur.lit.run.messages import tell
from ffrecur.lit.run.own_classes import imports_of
from ffrecur.lit.run.parser import Mistake, Parser
from ffrecur.lit.run.process_state import prepare_process
from ffrecur.lit.run.quiet import silence_noise
from ffrecur.lit.run.saving import LastCheckpoint
from ffrecur.lit.run.stopping import Stopped, end_launched, silence_notifier, stoppable
from ffrecur.lit.run.tasks import with_tasks
from ffrecur.lit.run.threads import tell_threads
from ffrecur.storage.checkpoint import KINDS, NET_KEY, read_checkpoint
from ffrecur.storage.files import with_home
from ffrecur.storage.output import closed_pipe, output_closed

DEFAULT_ROOT = "runs"


class CommandLine(LightningCLI):
    """LightningCLI with a folder a run, checkpoints found by name, and typed settings that win over a checkpoint's."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        """Run the command. Raises `UserError` for errors of the user's choices, see `ffrecur.lit.run.boundary`."""
        given = kwargs.get("args")
        self.typed = list(sys.argv[1:] if given is None else given)
        with ExitStack() as self.reserved:  # what is taken back if it fails
            try:
                super().__init__(*args, **kwargs)
            except Exception as error:
                told = to_tell(error, self._named(), self.typed, getattr(self, "trainer", None))
                if told is None:
                    raise
                raise told from error

    def _named(self) -> list[Named]:
        return list(named_classes(self.config.get(self.config.subcommand))) if hasattr(self, "config") else []

    def _used(self) -> bool:
        """Whether the new run has made a step, or has anything to keep: steps taken by hand are not counted by Lightning."""
        if not hasattr(self, "trainer"):
            return False
        by_hand = not self.model.automatic_optimization and self.trainer.fit_loop.total_batch_idx >= 0
        return self.trainer.global_step > (self.stored_step or 0) or by_hand or any(self.run_folder.rglob("*.ckpt"))

    def init_parser(self, **kwargs: Any) -> LightningArgumentParser:
        """Make a parser that takes option names in full only: a shortened one is more often a mistake."""
        kwargs.setdefault("description", "Train networks with the Forward-Forward algorithm, test them, and predict.")
        return super().init_parser(allow_abbrev=False, **kwargs)

    def _add_subcommands(self, parser: LightningArgumentParser, **kwargs: Any) -> None:
        """Add the subcommand that was typed alone, as each takes 25 ms; leave the printing of results to `Report`."""
        every = type(self).subcommands()
        first = self.typed[0] if self.typed else None
        if first in every:  # Lightning asks this method which there are
            self.subcommands = lambda: {first: every[first]}  # type: ignore[method-assign]
        super()._add_subcommands(parser, **kwargs)
        for name, made in self._subcommand_parsers.items():
            if name in ("validate", "test"):
                made.set_defaults(verbose=False)
            # The file of a run has it, which the other commands take too.
            help = "Seconds after which `fit` writes last.ckpt again, within an epoch too; more than 0."
            made.add_argument("--checkpoint_seconds", type=float, default=600.0, help=help)
            arrange(made, name)

    def add_default_arguments_to_parser(self, parser: LightningArgumentParser) -> None:
        """Add the seed, which the model and the data get too."""
        parser.add_argument("--seed_everything", type=int, default=0, help="Seed of all random numbers, at least 0.")

    def add_arguments_to_parser(self, parser: LightningArgumentParser) -> None:
        """Set our default classes, and pass the seed on."""
        parser.set_defaults(DEFAULT_CLASSES)
        for key in ("model", "data"):
            parser.link_arguments("seed_everything", f"{key}.init_args.seed")

    def parse_arguments(self, parser: LightningArgumentParser, args: Any) -> None:
        """Parse; where a checkpoint is read, its settings come first, so that what the user typed wins."""
        typed = typed_with_home(after_subcommand(with_tasks(self.typed), self.subcommands()))
        subcommand = next((arg for arg in typed if arg in self.subcommands()), None)
        at = typed.index(subcommand) + 1 if subcommand else 0
        typed = [*typed[:at], *files_first(typed[at:])]
        self.checkpoint = None
        stored: dict[str, Any] = {}
        if subcommand is not None and not {"-h", "--help"} & set(typed):
            root = with_home(str(typed_value(typed, "trainer.default_root_dir") or DEFAULT_ROOT))
            self.checkpoint = checkpoint_to_use(subcommand, self._typed_checkpoint(typed), root)
        self.stored_net: dict[str, Any] | None = None
        self.stored_optimizer: dict[str, Any] | None = None
        self.stored_step: int | None = None
        self.training_settings: dict[str, Any] | None = None  # of the data that the net was trained on
        if self.checkpoint is not None:
            checkpoint = read_checkpoint(self.checkpoint)
            self.stored_net, self.stored_optimizer = checkpoint[NET_KEY], checkpoint.get(OPTIMIZER_KEY)
            self.stored_step = checkpoint.get("global_step")
            stored = stored_settings(checkpoint, self.checkpoint)
            self.training_settings = stored.get("data", {}).get("init_args")
            stored = stored if subcommand == "fit" else without_training(stored)
        guarded = nullcontext() if self.checkpoint is None else imports_of(stored, typed, self.checkpoint)
        with guarded, tempfile.TemporaryDirectory() as folder:
            file = Path(folder) / "checkpoint.yaml"
            file.write_text(yaml.safe_dump(stored), encoding="utf-8")
            if subcommand is not None:
                self._subcommand_parsers[subcommand].set_defaults(default_classes(stored, typed))
            first = ["--config", str(file)] if stored else []
            self.config = parser.parse_args([*typed[:at], *first, *typed[at:]])
        chosen = expand_home(self.config[self.config.subcommand])
        chosen.trainer.default_root_dir = chosen.trainer.default_root_dir or DEFAULT_ROOT
        check_seed("seed_everything", chosen.seed_everything)
        chosen.config = (chosen.config or [])[len(first) // 2 :]  # the user's own
        chosen.ckpt_path = None if self.checkpoint is None else str(self.checkpoint)
        rule = "true: nothing in a checkpoint runs as code"
        check_setting(chosen.weights_only is not False, "weights_only", False, rule)
        chosen.weights_only = True  # Lightning's default, null, leaves it to the environment

    @staticmethod
    def _typed_checkpoint(typed: list[str]) -> str | None:
        given = typed_value(typed, "ckpt_path")
        check_setting(given is None or isinstance(given, str), "ckpt_path", given, "a path, or last, or best")
        return None if given in (None, "null") else with_home(given)

    def _parse_ckpt_path(self) -> None:
        """Lightning would let the checkpoint's settings win here."""

    def instantiate_trainer(self, **kwargs: Any) -> Trainer:
        """Make the trainer, with the run's folder, loggers and checkpoints."""
        chosen = self.config[self.subcommand]
        root = Path(chosen.trainer.default_root_dir)
        try:
            allowed = next(folder for folder in (root, *root.absolute().parents) if folder.exists()).is_dir()
        except (OSError, ValueError):  # a name that no folder can have
            allowed = False
        check_setting(allowed, "trainer.default_root_dir", str(root), "a folder")
        check_settings(chosen.trainer)
        if self.subcommand == "fit":
            seconds = chosen.checkpoint_seconds
            check_setting(seconds > 0, "checkpoint_seconds", seconds, "more than 0")
        run = None if self.checkpoint is None else run_of(self.checkpoint)
        # A run is continued in its folder from its last checkpoint; from any other, and on other data, a new run starts.
        from_another = self.subcommand == "fit" and begins_anew(self.checkpoint, self.training_settings, chosen.data)
        if run is None or from_another:
            name = Path(str(chosen.config[-1])).stem if chosen.config else str(self.subcommand)
            first = rank_zero_only.rank == 0  # type: ignore[attr-defined]  # of several processes
            if self.subcommand == "fit" and first and not chosen.trainer.fast_dev_run:
                run = self.reserved.enter_context(reserved_run_folder(root, name, self._used))
            else:
                run = new_run_folder(root, name)
        self.run_folder = run
        trainer = self._get(self.config_init, "trainer")
        plugins = listed(trainer.plugins)
        whole = [] if any(isinstance(plugin, CheckpointIO) for plugin in plugins) else [WholeCheckpointIO()]
        kwargs["plugins"] = [*plugins, *whole]
        # Of a run that is continued, what was logged after the checkpoint comes once more.
        purge_step = self.stored_step if self.subcommand == "fit" and not from_another else None
        loggers = loggers_of(trainer.logger, run, purge_step)
        callbacks = listed(trainer.callbacks)
        shown, kwargs["enable_progress_bar"] = progress(callbacks, trainer.enable_progress_bar)
        callbacks += [SameCheckpoint(self.checkpoint), *shown] if self.checkpoint else shown
        if self.subcommand == "fit":
            loggers.insert(0, ContinuedCSVLogger(run, self.stored_step))
            callbacks += [Minutes(), TextSamples()]
            callbacks += self._checkpoints() if trainer.enable_checkpointing is not False else []
        else:
            kwargs["enable_checkpointing"] = False
            callbacks.append(PredictionWriter(run) if self.subcommand == "predict" else Report(run, self.checkpoint))
        made: Trainer = super().instantiate_trainer(logger=loggers, callbacks=callbacks, **kwargs)
        check_trainer(made)
        silence_notifier(made)
        self.reserved.push(lambda kind, error, trace: end_launched(made, error))
        return made

    @property
    def _about_model(self) -> NetModule | type[NetModule]:
        """What the model says of itself; the base of ours speaks for a LightningModule of the user's own."""
        return self.model if isinstance(self.model, NetModule) else NetModule

    def _checkpoints(self) -> list[Any]:
        """One callback for the best checkpoint and one for the last."""
        best = BestCheckpoint(self.run_folder, self._about_model.target)
        return [best, LastCheckpoint(self.run_folder, self.config.fit.checkpoint_seconds)]

    def _add_instantiators(self) -> None:
        super()._add_instantiators()
        assert isinstance(self.parser, Parser)
        self.parser.tell_of(self._failed)

    def _failed(self, made: type, error: Exception) -> str:
        named = next((each for each in self._named() if each.made is made), Named("trainer", made))
        return failed(named, error, self.typed)

    def _check_data(self) -> None:
        """Read the data and match the net before the run's folder is made, so that a mistake leaves no trace there."""
        stage = str(self.subcommand)
        if stage == "fit":
            check_written(self._parser("fit"), self.config.fit)
        if stage in self._about_model.refused:
            raise UserError(f"subcommand is {stage!r}, {self._about_model.refused[stage]}")
        tell_threads(self.trainer)
        if self.stored_net is not None and hasattr(self.datamodule, "know_net"):
            self.datamodule.know_net(self.stored_net)
        for name in ("batch_size", "evaluation_batch_size"):
            size, processes = getattr(self.datamodule, name, None), self.trainer.world_size
            rule = f"at least the number of processes, {processes}"
            check_setting(size is None or size >= processes, f"data.{name}", size, rule)
        same = of_same_source(stage, self.training_settings, self.datamodule)
        if type(self.datamodule).prepare_data is not LightningDataModule.prepare_data:  # of the user's own: a download
            if self.trainer.local_rank > 0:
                return  # the first process checks; Lightning lets the others wait for what it makes
            self.datamodule.prepare_data()
        self.datamodule.setup(stage)
        if same:
            warn_of_another_split(stage, self.training_settings or {}, self.datamodule)
        if isinstance(self.model, NetModule):
            if self.stored_net is not None and self.checkpoint is not None:
                self.model.check_stored(self.stored_net, self.checkpoint)
            self.model.match_data(self.datamodule)
            for best in (each for each in self.trainer.callbacks if isinstance(each, BestCheckpoint)):  # type: ignore[attr-defined]
                best.monitor = self.model.target  # which may depend on the data
            if stage == "fit":
                self.model.check_optimizer(self.stored_optimizer)

    before_fit = before_validate = before_test = before_predict = _check_data

    def after_fit(self) -> None:
        """Say where things are and what to type next."""
        if not self.trainer.is_global_zero:
            return
        if not (self.run_folder / LAST).is_file():
            print("\nNo checkpoint was written: there is nothing to test or to continue.")
            return
        files = [name for name in ("config.yaml", BEST, LAST, "metrics.csv") if (self.run_folder / name).is_file()]
        print(f"\nRun folder: {self.run_folder}  ({', '.join(files)})")
        if getattr(self.model, "kind", None) in KINDS:  # no command reads a net of the user's own
            commands = ["ffrecur test --ckpt_path", *self._about_model.next_commands]
            print("Next:", "\n      ".join(f"{command} {self.run_folder}" for command in commands))


def main(args: list[str] | None = None) -> int:
    """Run one command; return the exit code: 0, 2 after a mistake of the user's, told in one line, 130 or 143 after a signal."""
    prepare_process()  # it is process state, so it is set here and not by an import
    silence_noise()
    try:
        with stoppable():
            CommandLine(
                LightningModule,
                LightningDataModule,
                subclass_mode_model=True,
                subclass_mode_data=True,
                parser_class=Parser,
                save_config_callback=RunConfig,
                save_config_kwargs={"overwrite": True},
                trainer_defaults={"default_root_dir": DEFAULT_ROOT, "max_epochs": 40},
                auto_configure_optimizers=False,
                args=args,
            )
    except Stopped as stopped:
        return stopped.code
    except BrokenPipeError:
        if not output_closed():
            raise
        return closed_pipe()
    except (UserError, MisconfigurationException, Mistake) as error:
        return tell(error, sys.argv[1:] if args is None else args)
    return 0
