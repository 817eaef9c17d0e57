"""Load the model that the demo published, from the embedded Hub, as any user of transformers would.

python examples/first_light/load.py python-statements
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import tempfile
from pathlib import Path


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("repo", help="name of the repository; without an owner it is yours")
    parser.add_argument("--prompt", default="import ", help="start of the samples")
    parser.add_argument("--samples", type=int, default=5)
    args = parser.parse_args()
    command = [str(Path(sys.executable).with_name("ml-intern")), "hub", "serve", "--port", "0"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as server:
        try:
            assert server.stdout is not None
            endpoint = next(
                word for line in server.stdout for word in line.split() if word.startswith("http://")
            )
            load_and_sample(endpoint.rstrip("/."), args.repo, args.prompt, args.samples)
        finally:
            server.terminate()


def load_and_sample(endpoint: str, repo: str, prompt: str, samples: int) -> None:
    """Read endpoint and cache before the libraries are imported: they look at the environment once."""
    os.environ.update(
        HF_ENDPOINT=endpoint, HF_HUB_DISABLE_XET="1", HF_HOME=tempfile.mkdtemp(), HF_TOKEN="local"
    )
    import torch
    from transformers import AutoModelForCausalLM, AutoTokenizer

    name = repo if "/" in repo else f"local/{repo}"
    tokenizer = AutoTokenizer.from_pretrained(name)
    model = AutoModelForCausalLM.from_pretrained(name)
    print(f"{name}: {model.num_parameters():,} parameters from {endpoint}")
    torch.manual_seed(0)
    start = tokenizer(prompt, return_tensors="pt", add_special_tokens=False).input_ids
    begin = torch.tensor([[tokenizer.bos_token_id]]) if tokenizer.bos_token_id is not None else start[:, :0]
    written = model.generate(
        torch.cat([begin, start], dim=1).repeat(samples, 1),
        max_new_tokens=24,
        do_sample=True,
        temperature=0.7,
    )
    for row in written:
        print("  " + tokenizer.decode(row, skip_special_tokens=True))


if __name__ == "__main__":
    main()
