"""The cells of the long session: work as it is done, with every kind of thing that a kill can cut in two."""

from __future__ import annotations

JOB = """
import json, os, time
for step in range(1, 9):
    with open(os.environ["ML_INTERN_METRICS"], "a") as file:
        file.write(json.dumps({"step": step, "loss": 1 / step}) + "\\n")
    time.sleep(0.08)
with open("starts.txt", "a") as file:
    file.write("once\\n")
"""

TRAINING = """
config = {
    'max_steps': 6, 'batch_size': 4, 'max_length': 32, 'learning_rate': 3e-3, 'logging_steps': 1,
    'tokenizer': 'byte',
}
training = launch_training(
    'pretrain', 'scratch:0.05M', 'text.txt', config, hardware='cpu', name='tiny', experiment=first.id
)
print(training.id)
"""

ADD = "open('log.txt', 'a').write('a line\\n')"
COUNT = """
import os
number = int(open('counter').read()) if os.path.exists('counter') else 0
open('counter', 'w').write(str(number + 1))
print(number + 1)
"""
TALK = "for n in range(30):\n    print('a line of what a real cell prints: loss', n, 'of', {n}, 'and so on ' * 3)"

PARALLEL = """
from concurrent.futures import ThreadPoolExecutor
open('parallel.txt', 'a').write('begun\\n')
with ThreadPoolExecutor(4) as pool:
    total += sum(map(len, pool.map(note, ['north', 'south', 'east', 'west'])))
open('parallel.txt', 'a').write('ended\\n')
"""

MIXED = """
write_file('notes.md', 'alpha\\nbeta\\n')
open('notes.md', 'a').write('gamma\\n')
read_file('notes.md')
edit_file('notes.md', 'gamma', 'delta')
open('notes.md', 'a').write('epsilon\\n')
print(open('notes.md').read())
"""

FOLDERS = """
import os
os.makedirs('out/deep')
open('out/deep/one.txt', 'w').write('one')
os.rename('out/deep/one.txt', 'out/two.txt')
os.symlink('two.txt', 'out/link')
"""

CLEAN = """
import shutil
shutil.rmtree('out/deep')
os.remove('out/link')
note('cleaned')
shutil.copy('out/two.txt', 'out/three.txt')
"""

SPENT = """
for n in range(3):
    open('log.txt', 'a').write(f'rent {n}\\n')
    total += len(rent(0.1))
"""

BESIDE = """
open('beside.txt', 'a').write('before ')
third = launch_script(JOB, name='third')
open('beside.txt', 'a').write('between ')
print(wait_for_job(third.id).state)
open('beside.txt', 'a').write('after')
"""

COMMANDS = """
open('log.txt', 'a').write('from the cell\\n')
print(run_command("printf 'from a command\\\\n' >> log.txt; wc -l < log.txt").output)
open('log.txt', 'a').write('from the cell again\\n')
"""

LAST = """
lines = open('log.txt').read().splitlines()
files = {name: open(name).read() for name in ('counter', 'notes.md', 'beside.txt', 'parallel.txt')}
states = [job.state for job in list_jobs()]
final_answer(f'{total} {len(lines)} {lines[-1]} {files} {sorted(os.listdir("out"))} {states} {loss:.6f}')
"""

CELLS: tuple[str | None, ...] = (
    "total = 0\nplan(['train', 'rent', 'publish'])",
    "total += len(rent(1.0))",
    "first = start_experiment('a small model learns these lines', 'a baseline')\nprint(first.id)",
    "open('text.txt', 'w').writelines(f'value_{n} = {n} * {n + 1}\\n' for n in range(200))",
    TRAINING,
    ADD,
    f"JOB = {JOB!r}\nsecond = launch_script(JOB, name='second')\nprint(second.id)",
    None,
    MIXED,
    TALK.format(n=1),
    "for n in range(4):\n    total += len(note(f'note {n}'))",
    "1 / 0",
    COMMANDS,
    COUNT,
    "print(wait_for_job(second.id).state)",
    "print(announce('me/first', f'total {total}'))",
    "print(announce('me/second', 'always from here on'))",
    TALK.format(n=2),
    "print(announce('me/second', 'not asked any more'))",
    "rent(0.25), rent(0.25)",
    COUNT,
    FOLDERS,
    ADD,
    CLEAN,
    "rows = read_metrics(second.id).rows\nprint(len(rows), rows[-1]['loss'])",
    BESIDE,
    TALK.format(n=3),
    PARALLEL,
    "try:\n    edit_file('notes.md', 'zeta', 'eta')\nexcept ToolError as error:\n    print('not there')",
    "plan([{'text': 'train', 'status': 'doing'}, {'text': 'publish', 'status': 'todo'}])",
    COUNT,
    SPENT,
    TALK.format(n=4),
    "print([job.state for job in wait_for_job([second.id, training.id])])",
    "loss = read_metrics(training.id, ['loss']).rows[-1]['loss']\nprint(loss)",
    "print(finish_experiment(first.id, 'inconclusive', 'nothing to hold it against').verdict)",
    ADD,
    "data = publish_dataset('text', 'lines')\nprint(data.rows)",
    TALK.format(n=5),
    "model = publish_model(first.id, 'tiny-model', private=False)\nprint(model.verified, model.parameters)",
    "plan([{'text': 'train', 'status': 'done'}, {'text': 'publish', 'status': 'done'}])",
    "total += len(announce('me/second', f'published {model.repo}'))",
    COUNT,
    LAST,
)
