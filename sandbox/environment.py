"""The environment variables and the Python that code in a sandbox gets."""

from __future__ import annotations

import os
import site
import sys
import sysconfig
from collections.abc import Iterator, Mapping
from importlib.util import find_spec
from pathlib import Path

KERNEL = Path(__file__).resolve().with_name("kernel.py")

PASSED_ON = ("TZ", "LD_LIBRARY_PATH", "CUDA_VISIBLE_DEVICES", "NVIDIA_VISIBLE_DEVICES", "OMP_NUM_THREADS")
"""Variables of the host that say how the machine is, and never who the user is."""

FIXED = {
    "LANG": "C.UTF-8",
    "USER": "intern",
    "LOGNAME": "intern",
    "PYTHONDONTWRITEBYTECODE": "1",
    "PYTHON_DOTENV_DISABLED": "1",
    "HF_HUB_OFFLINE": "1",
    "HF_HUB_DISABLE_TELEMETRY": "1",
    "TOKENIZERS_PARALLELISM": "false",
    "MPLBACKEND": "Agg",
    # A progress bar in an observation is noise that the brain pays for.
    "TQDM_DISABLE": "1",
    "HF_HUB_DISABLE_PROGRESS_BARS": "1",
}


def clean_environment(home: str, temporary: str, env: Mapping[str, str] | None = None) -> dict[str, str]:
    """All variables that code in a sandbox sees: nothing is inherited but what `PASSED_ON` names.

    Args:
        home: The home folder inside.
        temporary: The folder for temporary files inside.
        env: What the caller adds, such as a job's thread count.
    """
    folders = [str(Path(prefix) / "bin") for prefix in dict.fromkeys((sys.prefix, sys.base_prefix))]
    path = os.pathsep.join(dict.fromkeys([*folders, "/usr/local/bin", "/usr/bin", "/bin"]))
    passed = {name: os.environ[name] for name in PASSED_ON if name in os.environ}
    return {"PATH": path, "HOME": home, "TMPDIR": temporary, **FIXED, **passed, **(env or {})}


def python_paths() -> list[Path]:
    """What the running Python needs to run again: its programs, libraries and installed packages.

    Parts of a prefix and not the prefix, which may be somebody's home or project with more in it.
    """
    parts = ("bin", "lib", "lib64", "libexec", "include", "share", "ssl", "pyvenv.cfg")
    prefixes = dict.fromkeys((sys.prefix, sys.exec_prefix, sys.base_prefix, sys.base_exec_prefix))
    found = [Path(prefix) / part for prefix in prefixes for part in parts]
    found += [Path(sysconfig.get_path(name)) for name in ("stdlib", "platstdlib", "purelib", "platlib")]
    found += [Path(folder) for folder in site.getsitepackages()]
    if site.ENABLE_USER_SITE:
        found.append(Path(site.getusersitepackages()))
    found += [KERNEL, *_own_package(), *_interpreter()]
    return [path for path in dict.fromkeys(found) if path.exists()]


def _own_package() -> Iterator[Path]:
    """This package, also where it is installed for editing: recipes run from it."""
    spec = find_spec("ml_intern")
    for folder in (spec.submodule_search_locations or ()) if spec else ():
        yield Path(folder)
    yield KERNEL.parent


def _interpreter() -> Iterator[Path]:
    """Each link from the running interpreter to its file: the chain may leave the prefixes."""
    path = Path(sys.executable)
    for _ in range(16):
        yield path
        if not path.is_symlink():
            return
        path = Path(os.path.normpath(path.parent / path.readlink()))
