"""Train models and run code, each as a job that outlives the cell."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import Field

from ml_intern.context import ToolContext
from ml_intern.durations import show_duration
from ml_intern.errors import InternError, Interrupted, ToolError
from ml_intern.evals.carried import refuse_files, refuse_words
from ml_intern.events import Notice
from ml_intern.jobs import preflight
from ml_intern.jobs.asking import Training, guard_file, seed_for, training_spec
from ml_intern.jobs.conditions import condition
from ml_intern.jobs.estimate import Workload, workload
from ml_intern.jobs.hardware import gpu_count, gpu_name, slots_here
from ml_intern.jobs.model import FINISHED, JobSpec, JobStatus, Place
from ml_intern.jobs.places import HERE, ON_CPU, choose, read_place, sized_timeout, smaller_plan
from ml_intern.jobs.record import base_of, demand_same, record_start
from ml_intern.jobs.smoke import SmokeTest, smoke_result, smoke_spec
from ml_intern.models import resolve_model
from ml_intern.prices import Price
from ml_intern.secrets.masking import holds_secret
from ml_intern.tooling import tool
from ml_intern.tools.jobs import progress_line, seconds_of, share_done
from ml_intern.workspace.files import Closed

Method = Literal["pretrain", "sft", "dpo", "reward", "grpo"]
SMOKE_TIMEOUT_S = 600
_SHORTEST_S = 1.0


def _price(ctx: ToolContext, arguments: Any) -> Price:
    """At the most it is held for the whole timeout; a rented machine has a price, and GPUs are counted."""
    return _held(_timeout(ctx, arguments.timeout), *_asked_of(ctx, arguments))


def _smoke_price(ctx: ToolContext, arguments: Any) -> Price:
    """The same for a smoke test, which has a shorter timeout of its own."""
    return _held(_timeout(ctx, arguments.timeout, SMOKE_TIMEOUT_S), *_asked_of(ctx, arguments))


def _asked_of(ctx: ToolContext, arguments: Any) -> tuple[str, Place, int]:
    """The hardware in words, the place that it is, and how many processes will train there together."""
    place = read_place(ctx.settings, ctx.services.hub, arguments.hardware)
    return arguments.hardware, place, processes_in(getattr(arguments, "config", None))


def processes_in(config: Any) -> int:
    """How many processes a config asks for; what is wrong with it is told by the check that follows."""
    asked = config.get("processes") if isinstance(config, dict) else None
    return asked if isinstance(asked, int) and asked > 0 else 1


def _held(seconds: float, hardware: str, place: Place, processes: int = 1) -> Price:
    hours = seconds / 3600
    if place.away:
        return Price((place.usd_per_hour or 0.0) * hours, place.gpus * hours, 1)
    gpus = 0 if hardware == "cpu" else min(processes, gpu_count())
    return Price(usd=0.0, gpu_hours=gpus * hours, jobs=1)


def _placed(ctx: ToolContext, arguments: Any) -> Any:
    """The place in the place of "auto", so that what a person is asked about is what will run.

    Raises:
        ToolError: There is no such place.
    """
    if arguments.hardware != "auto":
        place = read_place(ctx.settings, ctx.services.hub, arguments.hardware)
        named = arguments.hardware if arguments.hardware in HERE else place.words
        return _timed(ctx, arguments.model_copy(update={"hardware": named}), Workload())
    work = _work(ctx, arguments)
    place = choose(ctx.settings, ctx.services.hub, work, ctx.services.left().get("usd"))
    if place.compute == "local":
        return _here(ctx, arguments, work, place)
    ctx.emit(Notice("info", f"The job goes to {place.words}: {place.why}."))
    return _timed(ctx, arguments.model_copy(update={"hardware": place.words}), work)


def _here(ctx: ToolContext, arguments: Any, work: Workload, place: Place) -> Any:
    """This machine, with a warning where its CPU will take long; a GPU that is too small is left alone."""
    if not place.why.endswith(ON_CPU):
        return arguments
    smaller = smaller_plan(work, _timeout(ctx, arguments.timeout))
    if smaller or gpu_name():
        told = "; ".join(filter(None, [place.why, smaller]))
        ctx.emit(Notice("warning", f"{told[:1].upper()}{told[1:]}."))
    return arguments.model_copy(update={"hardware": "cpu"}) if gpu_name() else arguments


def _timed(ctx: ToolContext, arguments: Any, work: Workload) -> Any:
    """With a time limit for a rented machine, sized from the estimate where none was named."""
    if arguments.timeout is not None or arguments.hardware in HERE:
        return arguments
    place = read_place(ctx.settings, ctx.services.hub, arguments.hardware)
    if place.compute != "hf-jobs":
        return arguments
    work = work if work.tokens else _work(ctx, arguments)
    return arguments.model_copy(update={"timeout": round(sized_timeout(place, work, _timeout(ctx, None)))})


def _work(ctx: ToolContext, arguments: Any) -> Workload:
    """What a training has to do, as far as it is known before its data and model are looked at in earnest."""
    if not hasattr(arguments, "dataset"):
        return Workload()
    model, folder = arguments.model, None
    try:
        if isinstance(model, str) and not model.startswith("scratch:"):
            folder = resolve_model(ctx, model)
        rows = ctx.datasets.open(arguments.dataset).rows.height
    except InternError:
        return Workload()  # What is wrong with it is told by the check that follows.
    return workload(model, folder, arguments.config or {}, rows)


def _found_again(ctx: ToolContext, key: str) -> JobStatus | None:
    """The job of an unfinished call; one that was made but not started yet is started."""
    job = ctx.jobs.find(key)
    if job is None:
        return None
    spec = ctx.jobs.spec(job)
    status = ctx.jobs.submit(spec)
    if spec.method in preflight.METHODS:
        record_start(ctx.ledger, spec, job)
    elif spec.experiment is not None:
        ctx.ledger.attach(spec.experiment, job=job, base=base_of(spec))
    return status


def _tested_again(ctx: ToolContext, key: str) -> SmokeTest | None:
    """The smoke test of an unfinished call, waited for."""
    found = _found_again(ctx, key)
    return _watched(ctx, found.id) if found else None


def _watched(ctx: ToolContext, job: str) -> SmokeTest:
    """Wait for a smoke test and tell how it goes."""

    def show(status: JobStatus) -> None:
        ctx.progress(progress_line(status), share_done([status]))

    [status] = ctx.jobs.wait([job], None, None, ctx.cancelled, show)
    if status.state not in FINISHED:
        ctx.jobs.cancel(job)
        raise Interrupted("The smoke test was interrupted.")
    return smoke_result(ctx.jobs, status)


@tool(effect="compute", needs=["hub:read"], price=_price, reconcile=_found_again, prepare=_placed)
def launch_training(
    ctx: ToolContext,
    method: Method,
    model: str | dict[str, Any],
    dataset: str,
    config: dict[str, Any] | None = None,
    hardware: str = "auto",
    name: str | None = None,
    experiment: str | None = None,
    seed: int | None = None,
    timeout: str | float | None = None,
    stop_when: str | None = None,
    priority: Annotated[int, Field(ge=-9, le=9)] = 0,
) -> JobStatus:
    """Start a training as a job and return at once; wait_for_job(result.id) waits for it.

    The trained model is the folder result.output + "/model", there once the job has succeeded: a cell may
    read it, and tools take the job's id for it. Checked before it starts: the config's fields, the dataset's
    columns and values, the rewards, the model, the tokenizer, and that no row holds an item of a sealed
    evaluation. With validation, result.json has held_out: each measure at the start and at the end.

    Args:
        method: "pretrain" makes a model from nothing; "sft" fine-tunes one on examples; "dpo" on pairs of
            answers, chosen over rejected; "reward" makes a model that scores answers, of such pairs; "grpo"
            draws completions, rewards them and makes the better ones likelier.
        model: pretrain: a size, "scratch:0.3M", or {"config": {"model_type": "llama", "hidden_size": 96},
            "tokenizer": {"type": "bpe", "vocab_size": 512}}; a tokenizer is "bpe", "byte", "char" (on
            plain ASCII text the same as "byte"), such a dict, or a folder with a tokenizer.json.
            The others: a job, an experiment, a path or a Hub id.
        dataset: A dataset id, a path or a Hub id. pretrain takes a column text; sft takes text, prompt and
            completion, or messages; dpo and reward take chosen and rejected, with a prompt or without; grpo
            takes a prompt and the columns that its rewards read. Texts, or lists of {role, content}.
        config: Fields of Transformers' TrainingArguments (pretrain) or TRL's SFTConfig, DPOConfig,
            RewardConfig or GRPOConfig, such as {"learning_rate": 3e-3, "batch_size": 8, "max_steps": 160};
            all also validation: 0.1 sets this share of the rows apart and logs their eval_loss (dpo too
            eval_rewards/accuracies, reward eval_accuracy, grpo eval_reward), and processes=2; pretrain also
            max_length, packing, tokenizer, and for a mixture of experts experts="balanced" (also "filled",
            "as made"); the others peft={"r": 16} and qlora=True; sft, dpo and grpo
            held_out_texts, a dataset of texts not trained on, logged as eval_bits_per_byte.
            grpo needs rewards, a list of words or dicts, each with a weight and logged apart: "exact" and
            "numeric" (compare with the column "answer"), {"type": "regex", "pattern": r"^\\d+$"}, {"type":
            "length", "min": 5, "max": 40}, "parses", {"type": "runs", "column": "tests"} (Python),
            {"type": "model", "model": a reward job}, {"type": "python", "code": "def reward(completion,
            answer): return float(answer in completion)"}. A reward that can be had cheaply will be: look
            at read_samples, and keep a measure that is not rewarded, held_out_texts or a reward of weight 0.
        hardware: "auto" takes a GPU of this machine that fits, else the cluster or the rented machine that
            the settings name, else the CPU. Or "cpu", "gpu", "docker", "slurm:PARTITION", "hf-jobs:FLAVOR":
            list_hardware() shows what there is and what it costs.
        name: Words for the job; its id is made from them.
        experiment: The ledger's row that this belongs to.
        seed: Of the weights, the order of the data and all else that is drawn; nothing: the experiment's own,
            or the host's.
        timeout: Wall time after which the job is stopped, "30m"; nothing: the setting job_timeout.
        stop_when: End early, with the model as it then is, when this holds; written as for wait_for_job:
            "loss plateau", "overfitting or reward collapse". It is looked at while nobody waits, too.
        priority: Of the jobs that wait for a slot the one with the highest goes first; -9 to 9.
    """
    _check_hardware(hardware)
    seconds = _told(ctx, timeout)
    if stop_when is not None:
        condition(stop_when)
    place = read_place(ctx.settings, ctx.services.hub, hardware)
    own = seed_for(ctx, experiment, seed)
    asked = Training(method, model, dataset, config or {}, hardware, name, experiment, own, seconds, place)
    spec = training_spec(ctx, asked, _threads(ctx))
    demand_same(ctx.ledger, spec)
    notes = [*spec.notes, *_shorter(ctx, timeout, seconds)]
    more = {"stop_when": stop_when, "priority": priority, "notes": notes}
    status = ctx.jobs.submit(spec.model_copy(update=more))
    # The job's own words, not this call's: the key may have found one that was asked for before.
    record_start(ctx.ledger, ctx.jobs.spec(status.id), status.id)
    return status


@tool(effect="compute", needs=["hub:read"], price=_smoke_price, reconcile=_tested_again)
def smoke_test(
    ctx: ToolContext,
    method: Method,
    model: str | dict[str, Any],
    dataset: str,
    config: dict[str, Any] | None = None,
    hardware: str = "auto",
    seed: int | None = None,
    timeout: str | float | None = None,
) -> SmokeTest:
    """Run a few steps of a training and wait: does it run, and how long will it take? Do it before a sweep.

    Takes what launch_training takes. The result has job, state, parameters, vocab_size, tokens_per_step,
    seconds_per_step with its error (the first step warms up and is not counted), startup_seconds, and
    estimated_seconds with estimated_range for max_steps, asked for or counted from rows and epochs (note says
    so, or why it is not known), as long as no other job runs beside it. A failure raises an error that says
    what failed and which field of the config it is about.

    Args:
        method: As for launch_training.
        model: As for launch_training.
        dataset: As for launch_training.
        config: As for launch_training; the number of steps is replaced, and there is no warmup.
        hardware: As for launch_training.
        seed: As for launch_training.
        timeout: How long it may take; nothing: ten minutes.
    """
    _check_hardware(hardware)
    seconds = _told(ctx, timeout, SMOKE_TIMEOUT_S)
    place = read_place(ctx.settings, ctx.services.hub, hardware)
    own = seed_for(ctx, None, seed)
    asked = Training(method, model, dataset, config or {}, hardware, seed=own, timeout_s=seconds, place=place)
    status = ctx.jobs.submit(smoke_spec(ctx, asked, _threads(ctx)))
    return _watched(ctx, status.id)


def _read_script(ctx: ToolContext, arguments: Any) -> Any:
    """The code itself in place of its path: a cell could change the file while a person looks at it."""
    code, called = _code_of(ctx, arguments.script)
    return _placed(ctx, arguments.model_copy(update={"script": code, "name": arguments.name or called}))


@tool(effect="compute", needs=["hub:read"], price=_price, reconcile=_found_again, prepare=_read_script)
def launch_script(
    ctx: ToolContext,
    script: str,
    args: list[str] | None = None,
    inputs: list[str] | None = None,
    hardware: str = "auto",
    name: str | None = None,
    experiment: str | None = None,
    timeout: str | float | None = None,
    network: bool = False,
) -> JobStatus:
    """Run Python code as a job in the sandbox's walls: no credentials, the workspace read-only, no network.

    It runs in its output folder: what it writes there stays. A model saved as ./model can be evaluated and
    published. Lines of JSON with a "step" appended to os.environ["ML_INTERN_METRICS"] become metrics. Draw
    with the seed os.environ["ML_INTERN_SEED"], the experiment's.

    Args:
        script: A path in the workspace, or the code itself.
        args: Arguments. One that equals an entry of inputs arrives as that entry's path.
        inputs: Datasets, models (jobs, experiments) or paths that the script reads.
        hardware: As for launch_training. On "hf-jobs" its inputs go into a private repository.
        name: Words for the job.
        experiment: The ledger's row that this belongs to.
        timeout: Wall time after which the job is stopped, "30m"; nothing: the setting job_timeout.
        network: Open the network to the script. A person is asked each time, and where nobody is there the
            answer is no: say in the reply before why it is needed. Models and datasets need none, inputs
            brings them.
    """
    _check_hardware(hardware)
    code, called = _code_of(ctx, script)
    refuse_words(ctx.evals, "The lines of the script", [code])
    refuse_words(ctx.evals, "The arguments of the script", [" ".join(args or []), *(args or [])])
    places = {ref: _input(ctx, ref) for ref in inputs or []}
    refuse_files(ctx.evals, ctx.datasets, ctx.files.workspace)
    if experiment is not None:
        ctx.ledger.get(experiment)
    seconds = _told(ctx, timeout)
    spec = JobSpec(
        name=name or called,
        method="script",
        config={
            "code": code,
            "args": [str(places.get(a, a)) for a in args or []],
            "model": None,
            "seed": seed_for(ctx, experiment, None),
            "use_cpu": hardware == "cpu",
        },
        place=read_place(ctx.settings, ctx.services.hub, hardware),
        inputs=[ctx.files.workspace, *places.values()],
        timeout_s=seconds,
        threads=_threads(ctx),
        experiment=experiment,
        key=ctx.key,
        network=network,
        notes=_shorter(ctx, timeout, seconds),
    )
    status = ctx.jobs.submit(spec)
    if experiment is not None:
        ctx.ledger.attach(experiment, job=status.id, base=base_of(ctx.jobs.spec(status.id)))
    return status


def _input(ctx: ToolContext, ref: str) -> Path:
    """A dataset's file, a model's folder or a path."""
    if any(ref in (info.id, info.id.partition("@")[0]) for info in ctx.datasets.list()):
        ctx.evals.guard(ctx.datasets.open(ref).rows).demand_clean(ref)
        return ctx.datasets.path(ref)
    try:
        path = ctx.files.readable(ref)
    except Closed:
        raise
    except ToolError:
        return resolve_model(ctx, ref)
    guard_file(ctx, ref, path)
    return path


def _without_credentials(code: str, name: str) -> str:
    """The code of a file; a job gets no credential, and its folder keeps what it was given.

    Raises:
        ToolError: There is one in it.
    """
    if holds_secret(code):
        raise ToolError(f"There is a credential in {name}.", "Jobs get none: take it out of the script.")
    return code


def _code_of(ctx: ToolContext, script: str) -> tuple[str, str]:
    """The code and a name for it. What has no line break and ends in .py is a path."""
    if "\n" not in script and script.strip().endswith(".py"):
        path = ctx.files.readable(script.strip())
        return _without_credentials(path.read_text(), path.name), path.stem
    try:
        compile(script, "script.py", "exec")
    except SyntaxError as error:
        raise ToolError(
            f"The script does not parse: line {error.lineno}: {error.msg}.", "Correct it."
        ) from None
    return script, "script"


def _check_hardware(hardware: str) -> None:
    if hardware == "gpu" and not gpu_name():
        raise ToolError("There is no GPU on this machine.", 'Use hardware="auto" and a smaller model.')


def _timeout(ctx: ToolContext, timeout: str | float | None, default: str | float | None = None) -> float:
    """Seconds that a job may take: as asked, else the default; never longer than the budget's wall time."""
    asked = seconds_of(timeout if timeout is not None else default or ctx.settings.job_timeout)
    left = _left(ctx)
    return asked if left is None else min(asked, left)


def _told(ctx: ToolContext, timeout: str | float | None, default: str | float | None = None) -> float:
    """The same, and a word to the person where it is less than was asked for."""
    seconds = _timeout(ctx, timeout, default)
    for told in _shorter(ctx, timeout, seconds, default):
        ctx.emit(Notice("warning", told))
    return seconds


def _shorter(
    ctx: ToolContext, timeout: str | float | None, seconds: float, default: str | float | None = None
) -> list[str]:
    """A note where a job may take less time than was asked for."""
    asked = seconds_of(timeout if timeout is not None else default or ctx.settings.job_timeout)
    if seconds >= asked:
        return []
    told = f"The job may run {show_duration(seconds)}, not {show_duration(asked)}"
    return [f"{told}: then the budget's wall time is over."]


def _left(ctx: ToolContext) -> float | None:
    left = ctx.services.left().get("seconds")
    return None if left is None else max(left, _SHORTEST_S)


def _threads(ctx: ToolContext) -> int:
    return max(1, (os.cpu_count() or 1) // slots_here(ctx.settings))
