"""Teach a causal language model by rewards for what it writes:  python grpo.py config.json

The data is a jsonl file of rows with a `prompt`, a text or a list of messages, and the columns that the
rewards read. Group relative policy optimisation draws `num_generations` completions of each prompt, rewards
them, and makes likelier what was better than its group; a group whose rewards are alike teaches nothing.

config.json:
    model             the folder of a model with its tokenizer
    data              the jsonl file
    rewards           a list, of the kinds that _rewards.py names, each with its `weight`:
                      ["parses", {"type": "exact", "column": "answer", "weight": 2}]; each is logged apart, as
                      rewards/NAME/mean and rewards/NAME/std, beside their weighted sum, reward
    validation        0.1 sets this share of the prompts apart; what completions of them earn is logged as
                      eval_reward and eval_rewards/NAME/mean, from the start on
    peft              fields of peft's LoraConfig; the result is merged into the model
    qlora             true keeps the frozen weights below the adapter in four bits (a GPU and bitsandbytes)
    processes         how many train together on this machine
    trainer           any field of TRL's GRPOConfig: num_generations, max_completion_length, beta (above 0, a
                      price for leaving the model of the start), temperature, ...
    output_dir, checkpoint_dir, metrics_file        where things go
Resumes from the last whole checkpoint in checkpoint_dir.
"""

from __future__ import annotations

import math
import time
from pathlib import Path
from typing import Any

from _common import base_fields, on_gpu, quick_imports, read_rows, say, start, wrong
from _finetuning import fine_tune, load_model, load_rows, load_tokenizer, lora
from _rewarding import RewardFailed, make_rewards
from _rewards import RewardError, read_rewards
from _validation import validation_fields

STARTED = time.monotonic()
GROUP = 8
EVALUATED_AT_ONCE = 64


def trainer_fields(config: dict[str, Any]) -> dict[str, Any]:
    """TRL's defaults but for what a CPU does badly, and batches of held-out prompts that hold whole groups.

    Tokens are counted by the trainer itself: a batch has none yet when the counting would be done.
    """
    asked = config.get("trainer", {})
    group = asked.get("num_generations_eval") or asked.get("num_generations") or GROUP
    whole = {"per_device_eval_batch_size": group * max(1, EVALUATED_AT_ONCE // group)}
    on_cpu = {} if on_gpu(config) else {"gradient_checkpointing": False}
    return {**on_cpu, **whole, **validation_fields(config), **base_fields(config)} | (
        {} if "include_num_input_tokens_seen" in asked else {"include_num_input_tokens_seen": "no"}
    )


def save_between_generations(arguments: Any, prompts: int) -> None:
    """Completions that are still to be learned from are in no checkpoint: save when there are none.

    Where rows are measured as often as is saved, they are measured then, too, so that the best is kept.
    """
    steps = arguments.steps_per_generation * arguments.num_iterations
    every = math.lcm(steps, arguments.gradient_accumulation_steps) // arguments.gradient_accumulation_steps
    if every > 1 and arguments.save_strategy == "steps":
        asked = arguments.save_steps
        wanted = asked if asked >= 1 else math.ceil(asked * all_steps(arguments, prompts))
        rounded = math.ceil(wanted / every) * every
        if rounded != asked:
            say(f"save_steps is {rounded}: one set of completions lasts for {every} steps.")
            arguments.eval_steps = rounded if arguments.eval_steps == asked else arguments.eval_steps
            arguments.save_steps = rounded


def all_steps(arguments: Any, prompts: int) -> int:
    """About how many steps there will be."""
    if arguments.max_steps > 0:
        return int(arguments.max_steps)
    rows: float = prompts * arguments.num_generations * arguments.num_iterations * arguments.num_train_epochs
    batch = arguments.per_device_train_batch_size * arguments.gradient_accumulation_steps
    steps: float = rows / (batch * arguments.world_size)
    return max(1, math.ceil(steps))


def main(config: dict[str, Any]) -> None:
    """Train, save, and write down what was done."""
    with quick_imports("pandas_datareader", "sklearn", "tensorflow", "jax", "torchvision"):
        from transformers import AutoModelForCausalLM, set_seed
        from trl import GRPOConfig, GRPOTrainer

    data, held_out, rewards = prepare(config)
    weights = [reward["weight"] for reward in rewards]
    arguments = GRPOConfig(**trainer_fields(config), reward_weights=weights)
    save_between_generations(arguments, len(data))
    set_seed(arguments.seed)  # An adapter is drawn.
    model = load_model(config, AutoModelForCausalLM)
    try:
        trainer = GRPOTrainer(
            model=model,
            reward_funcs=make_rewards(rewards, str(arguments.device)),
            args=arguments,
            train_dataset=data,
            eval_dataset=held_out,
            processing_class=load_tokenizer(config["model"]),
            peft_config=lora(config, model),
        )
        told = [{k: reward[k] for k in ("name", "type", "weight")} for reward in rewards]
        fine_tune(trainer, config, STARTED, method="grpo", rewards=told)
    except RewardFailed as error:
        raise wrong("bad_config", f"{error}.") from error


def prepare(config: dict[str, Any]) -> tuple[Any, Any, list[dict[str, Any]]]:
    """Prompts to train on, those set apart, and the rewards."""
    columns = list(read_rows(Path(config["data"]), 1)[0])
    try:
        rewards = read_rewards(config.get("rewards"), columns)
    except RewardError as error:
        raise wrong("bad_config", str(error)) from None
    others = tuple(name for name in columns if name != "prompt")
    data, held_out = load_rows(config, config.get("seed", 0), (("prompt",),), more=others)
    say(f"{len(data)} prompts, rewards {', '.join(reward['name'] for reward in rewards)}")
    return data, held_out, rewards


if __name__ == "__main__":
    start(main)
