"""Sealed evaluations and comparisons: scores come back, items and labels never do."""

from __future__ import annotations

from pathlib import Path

from ml_intern.context import ToolContext
from ml_intern.errors import ToolError
from ml_intern.evals.model import EvalInfo
from ml_intern.evals.still import still
from ml_intern.events import Notice
from ml_intern.hub.origin import template_note
from ml_intern.jobs.belonging import bring_in, demand_own
from ml_intern.jobs.model import JobStatus
from ml_intern.ledger.model import Comparison, Scores
from ml_intern.models import experiment_of, resolve_model
from ml_intern.tooling import tool


@tool(
    effect="read",
    quiet=(
        *("asking", "sha256", "repositories", "reward_model", "reward_sha256", "lm_eval", "groups"),
        *("queries_used", "floor", "at_best", "paired", "unpaired", "grouped", "n"),
    ),
)
def list_evals(ctx: ToolContext) -> list[EvalInfo]:
    """The sealed evaluations: items by split, metrics, the one that decides, what it can tell, queries left.

    `detectable` says of each split what difference it can tell: look before you trust one; help(evaluate)
    says what each metric counts. The items themselves are shown to nobody.
    """
    return [ctx.evals.described(info) for info in ctx.evals.list()]


@tool(
    effect="compute",
    needs=["hub:read"],
    repeatable="what was scored is read from the ledger, and a job that still runs is waited for",
)
def evaluate(ctx: ToolContext, model: str, eval: str, experiment: str | None = None) -> Scores:
    """Score a model on the dev split of a sealed evaluation; the ledger records it under the experiment.

    The result has metrics with 95 % intervals, slices, what difference so few items can tell (`detectable`),
    and the shape of what the model wrote. `samples` are
    texts that it wrote from nothing, where the eval scores likelihoods or samples: read them, since a good
    score can hide bad text. Each other set of weights costs one dev query; the same weights again cost none.

    What the scorers count:
        bits_per_byte: bits for all tokens of the held-out text, over its bytes in UTF-8; lower is better. The
            start token is given and the end token is not counted. A text that the tokenizer does not give
            back is charged 8 bits a byte.
        python_parses: share of samples from nothing that Python's parser accepts and that are more than
            comments; higher is better. Dev and test each draw their own.
        exact_match: share of greedy answers that equal the target, but for white space at the ends.
        numeric_match: share of greedy answers whose last number equals the target's last number.
        math_match: the same by mathematics (math-verify): LaTeX, fractions, sets; 1/2 is 0.5.
        multiple_choice: share of items whose right option is the likeliest text to follow; `outputs` says how
            often each place was chosen (chose_A …).
        multiple_choice_normalized: the same by the byte of each option, so that length does not count.
        code_passes: share of greedy answers whose Python passes the item's tests, in the sandbox.
        rubric: mean share of the points that an answer earns, as the judge of the setting `judge` says.
        reward: mean of what the eval's reward model gives the greedy answers.
        lm_eval.NAME: what lm-eval calls NAME, as it computes it.

    Args:
        model: A job, an experiment, a path in the workspace or a Hub id.
        eval: A name from list_evals.
        experiment: The ledger's row; found from the job where it is not said.
    """
    owner = experiment_of(ctx, model)
    if experiment and owner and experiment != owner:
        raise ToolError(
            f"{model} belongs to {owner}, not to {experiment}.", f"Leave experiment out, or say {owner!r}."
        )
    if experiment and not owner and ctx.ledger.get(experiment).replicates:
        raise ToolError(
            f"{experiment} runs a configuration again, and {model!r} is no job of it.",
            "Launch it as confirm_experiment said, and evaluate that job.",
        )
    path: Path = resolve_model(ctx, model)
    if experiment and not owner:
        bring_in(ctx, experiment, model)
        demand_own(ctx, experiment, model, path)

    def progress(status: JobStatus) -> None:
        ctx.progress(f"evaluating {model} on {eval}: {status.state}")

    with still(ctx.evals, path, ctx.files.workspace) as kept:
        scores = ctx.evals.evaluate(
            kept, eval, experiment=experiment or owner, cancelled=ctx.cancelled, on_progress=progress
        )
    if note := template_note(ctx.jobs, path):
        ctx.emit(Notice("warning", note))
        return scores.model_copy(update={"warnings": [*scores.warnings, note]})
    return scores


@tool(
    effect="read",
    quiet=(
        *("notes", "value_a", "value_b", "n", "method", "detectable", "luck_of_best", "variants"),
        *("p_corrected", "higher_is_better", "seeds_a", "seeds_b", "new_seeds", "seed_spread"),
        *("difference", "low", "high", "p"),
    ),
)
def compare_experiments(ctx: ToolContext, a: str, b: str, metric: str | None = None) -> Comparison:
    """Say whether experiment b is better than experiment a, worse, or not clearly apart.

    Paired over the items that both were scored on: McNemar's mid-p test for right and wrong, else a bootstrap
    of items (of whole groups, where items come in groups). Experiments that differ in their seed alone are
    one configuration: all its seeds are taken, and with several of them seeds count as luck just as items
    do. The verdict is ``better`` or ``worse`` only when the 95 % interval of the difference leaves out zero,
    also after Holm's correction for all variants held against `a`. With one seed each it says nothing about
    the luck of the seed: `confirmed` is None until confirm_experiment's runs were measured.

    Args:
        a: The earlier experiment, as a rule the parent.
        b: The later one; the verdict is about it.
        metric: One of the eval's metrics; the one that decides where it is not said.
    """
    return ctx.evals.compare(a, b, metric)
