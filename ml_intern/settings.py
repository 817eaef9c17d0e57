"""Every limit and default of the intern, and where a user may set it.

Order, first wins: an argument (the command line's flags arrive as these), an environment variable
``ML_INTERN_<NAME>``, ``ml-intern.toml`` in the project folder, the user's own ``ml-intern.toml``.
"""

from __future__ import annotations

import contextlib
import importlib.util
import os
import re
import tomllib
from pathlib import Path
from typing import Annotated, Any, Literal

import platformdirs
from pydantic import BeforeValidator, Field, ValidationError, field_validator
from pydantic_settings import (
    BaseSettings,
    NoDecode,
    PydanticBaseSettingsSource,
    SettingsConfigDict,
    SettingsError,
    TomlConfigSettingsSource,
)

from ml_intern.errors import UsageError
from ml_intern.evals.nearness import Nearness
from ml_intern.jobs.thresholds import Thresholds
from ml_intern.tooling import did_you_mean
from ml_intern.trust import check_trust
from ml_intern.variables import check_spelling
from ml_intern.web.hosts import HOSTS

FILE = "ml-intern.toml"
TRACES = "ml-intern-traces"
"""The dataset that traces go to where no other is named; in the user's own namespace."""

SECRET = frozenset({"api_key", "notify", "notify_secret"})
"""Settings whose values are shown to nobody: whoever has the URL of a webhook can write there."""

TOOL_GROUPS = [
    "session", "workspace", "datasets", "evaluation", "experiments", "training", "jobs",
    "publish_model", "publish_dataset", "search_models", "inspect_repo",
]  # fmt: skip
"""Told in full from the start: what most sessions need."""


_LISTED = "docs/reference/settings.md lists all settings."


def _files() -> list[Path]:
    return [Path.cwd() / FILE, platformdirs.user_config_path("ml-intern") / FILE]


def _stands(name: str, given: dict[str, Any]) -> str:
    """Where a setting that does not fit was given, so that it is mended there."""
    first = name.partition(".")[0]
    variable = f"ML_INTERN_{first.upper()}"
    if given.get(first) is not None:
        return "Mend the option or the argument that gave it."
    if variable in os.environ:
        return f"Mend or unset the variable {variable}."
    for path in _files():
        with contextlib.suppress(OSError, ValueError):
            if first in tomllib.loads(path.read_text("utf-8")):
                return f"Mend it in {path}."
    return "Mend it where it was given."


def _split_words(value: Any) -> Any:
    return [word for word in re.split(r"[,\s]+", value) if word] if isinstance(value, str) else value


def _join_words(value: Any) -> Any:
    return ",".join(map(str, value)) if isinstance(value, list | tuple) else value


def _as_repo(value: Any) -> Any:
    word = str(value).strip().lower()
    if word in ("true", "1", "yes", "on"):
        return TRACES
    return "" if word in ("false", "0", "no", "off") else value


def _split_paths(value: Any) -> Any:
    return [part for part in value.split(os.pathsep) if part] if isinstance(value, str) else value


Words = Annotated[list[str], NoDecode, BeforeValidator(_split_words)]
"""In the environment: separated by commas or spaces."""

Paths = Annotated[list[Path], NoDecode, BeforeValidator(_split_paths)]
"""In the environment: separated as in PATH."""


def current_folder() -> Path:
    """The folder that the process is in.

    Raises:
        UsageError: Somebody has removed it.
    """
    try:
        return Path.cwd()
    except FileNotFoundError:
        raise UsageError("The folder that you are in is not there any more.", "Go to another: cd ~") from None


def _mending(error: Exception, file: Path) -> str:
    if isinstance(error, UnicodeDecodeError | OSError):
        return "Mend it, or move it away."
    line = 'Mend that line: text stands in quotes, as in model = "playbook:", lists in [brackets].'
    return f"It is {file}. {line}"


def _settings_of(file: Path, settings_cls: type[BaseSettings]) -> TomlConfigSettingsSource:
    """What a file of settings says; nothing where there is none.

    Raises:
        UsageError: It cannot be read, or is no TOML.
    """
    try:
        if file.is_dir():
            raise IsADirectoryError(0, "it is a folder")
        return TomlConfigSettingsSource(settings_cls, file)
    except (ValueError, OSError) as error:
        told = (error.strerror if isinstance(error, OSError) else str(error)) or type(error).__name__
        where = FILE if file.parent == Path.cwd() else str(file)
        raise UsageError(f"{where} cannot be read: {told.rstrip('.')}.", _mending(error, file)) from None


class Settings(BaseSettings):
    """The settings of a session. Times are seconds, sizes are bytes unless the name says otherwise."""

    model_config = SettingsConfigDict(env_prefix="ML_INTERN_", extra="forbid", protected_namespaces=())

    # Brain
    model: str | None = Field(
        None, description="SCHEME:NAME of the brain; nothing means hf: with a token, else playbook:"
    )
    fallback_models: Words = Field(
        default_factory=list, description="SCHEME:NAME of brains that take over, in order, when one is gone"
    )
    base_url: str | None = Field(None, description="URL of an OpenAI-compatible endpoint")
    api_key: str | None = Field(
        None, description="key for that endpoint; OPENAI_API_KEY where it is not set", repr=False
    )
    max_output_tokens: int = Field(4096, ge=64, description="longest reply asked of the brain")
    context_tokens: int = Field(
        128_000, ge=2_000, description="the brain's context window, where no data says it"
    )
    request_timeout_s: float = Field(
        300, gt=0, description="longest silence of the brain; a request may take four times as long"
    )
    connect_timeout_s: float = Field(5, gt=0, description="reaching the brain's endpoint")
    brain_stream: bool = Field(
        False, description="take the brain's replies piece by piece: a connection that drops is seen at once"
    )
    brain_retries: int = Field(8, ge=0, description="tries after a transient error of the brain")

    # Loop
    max_steps: int = Field(60, ge=1, description="cells a run may take")
    budget: str = Field("", description='ceiling, such as "5 usd, 2 gpu-hours, 1h, 500k tokens, 20 jobs"')
    yes: Words = Field(
        default_factory=list,
        description="effects that need no question; network opens it to scripts that ask",
    )
    go_on: bool = Field(
        True, description="nobody watches, budget is left, the plan is open: a final answer is held back once"
    )
    answer_checks: int = Field(
        2, ge=0, description="how often an answer with numbers that nobody measured goes back to the brain"
    )
    planning: int = Field(
        20, ge=0, description="steps after which the brain looks at its plan anew; 0: none is asked for"
    )
    tool_groups: Words = Field(
        default_factory=lambda: list(TOOL_GROUPS),
        description="groups of tools, or single ones, that the prompt has in full; the others it names",
    )
    tool_tokens: int = Field(
        1_000, ge=0, description="what the tools of MCP servers and your own may take of the prompt in full"
    )
    prompt_share: float = Field(
        0.4,
        gt=0,
        le=1,
        description="of the brain's window, what the system prompt may take before it only names tools",
    )
    observation_chars: int = Field(12_000, ge=500, description="of a cell's output, what the brain sees")
    recent_steps: int = Field(
        12, ge=2, description="newest steps that stay whole in the prompt, at the least"
    )

    # Research
    research_model: str | None = Field(
        None, description="SCHEME:NAME of the sub-agents' brain; nothing: the session's own"
    )
    research_steps: int = Field(20, ge=1, description="cells a research sub-agent may take")
    research_parallel: int = Field(4, ge=1, le=32, description="research sub-agents at one time")

    # Sandbox
    sandbox: Literal["local", "docker", "e2b", "none"] = Field("local", description="where cells run")
    cell_timeout_s: float = Field(600, gt=0, description="one cell's own time; host tools do not count")
    cell_grace_s: float = Field(5, gt=0, description="from the interrupt to the kill")
    sandbox_memory_mb: int = Field(4096, ge=64, description="memory that cells may take together")
    sandbox_processes: int = Field(256, ge=8, description="processes and threads of cells at one time")
    sandbox_disk_mb: int = Field(2048, ge=16, description="the sandbox's private /tmp and home")
    sandbox_growth_mb: int = Field(20_000, ge=16, description="what cells may add to the workspace")
    undo_mb: int = Field(
        512, ge=0, description="a workspace up to this is copied at each turn for `undo`; 0: none is"
    )
    snapshot_mb: int = Field(
        512, ge=1, description="a workspace up to here is kept from step to step, so that cut cells run anew"
    )
    snapshot_files: int = Field(
        10_000, ge=0, description="the same for its files and folders; 0: it is not kept"
    )
    sandbox_cpus: float = Field(0, ge=0, description="cores' worth of CPU time for cells; 0: all there are")
    docker_image: str = Field(
        "ml-intern-sandbox", description="image of --sandbox docker; doctor --build makes it"
    )
    torch_index: str | None = Field(
        None,
        description="where doctor --build takes torch from, PyTorch's CPU index say; nothing: as pip does",
    )
    e2b_template: str | None = Field(None, description="template of --sandbox e2b; nothing: E2B's own")
    e2b_timeout_s: int = Field(
        300, ge=60, description="an E2B sandbox ends so long after the last sign of life"
    )

    # Work
    compute: Literal["auto", "local", "docker", "slurm", "hf-jobs"] = Field(
        "auto", description="where jobs run"
    )
    slurm_partition: str | None = Field(
        None, description="of the cluster; `auto` uses a cluster where this is set"
    )
    slurm_account: str | None = Field(None, description="whom the cluster counts the jobs for")
    slurm_gpus: int | None = Field(
        None, ge=0, description="GPUs of a job on the cluster; nothing: one where the partition has some"
    )
    slurm_options: dict[str, str | int] = Field(
        default_factory=dict, description='further options of sbatch: {qos = "long"}, say'
    )
    hf_flavor: str | None = Field(
        None, description="machine of HF Jobs, a10g-small say; `auto` uses HF Jobs where this is set"
    )
    hf_namespace: str | None = Field(
        None, description="account that pays for HF Jobs; nothing: the token's own"
    )
    job_timeout: str = Field("3h", description="one job, where the call names no limit")
    job_slots: int = Field(
        0, ge=0, description="jobs at one time; 0: one a GPU, else one for each two cores, at least 2"
    )
    job_memory_mb: int = Field(8192, ge=128, description="memory that one job may take")
    job_file_mb: int = Field(200_000, ge=16, description="largest file that a job may write")
    job_disk_mb: int = Field(500_000, ge=16, description="what one job may add to the disk")
    job_restarts: int = Field(
        3, ge=0, description="how often a training that was killed or ran out of memory goes on by itself"
    )
    alerts: dict[str, float] = Field(
        default_factory=dict, description="from when on a curve is called ill: {kl_limit = 3}, say"
    )
    contamination: dict[str, float] = Field(
        default_factory=dict, description="how near to a test item is too near: {share = 0.7}, say"
    )
    trackio: bool = Field(False, description="show jobs in a Trackio dashboard on this machine, too")
    eval: Annotated[str | None, BeforeValidator(_join_words)] = Field(
        None, description="evaluations, commas between; the first decides: a file, a benchmark, lm-eval:TASK"
    )
    metric: str | None = Field(None, description="metric that decides")
    eval_tokens: int = Field(
        64, ge=1, description="longest answer to an item of an eval from a file, in tokens"
    )
    eval_chat: bool = Field(
        False,
        description="ask the items of an eval from a file in the model's chat template, as the user's turn",
    )
    seed: int = Field(0, ge=0, description="training seed of experiments where the agent asks for none")
    judge: str | None = Field(
        None, description="SCHEME:NAME of the model that judges answers against rubrics; nothing: none does"
    )
    dev_queries: int = Field(200, ge=1, description="dev scores that a session may ask of one eval")
    reward_model: str | None = Field(
        None, description="folder or Hub id of what gives the metric `reward`, where an eval names none"
    )
    most_samples: int = Field(64, ge=1, description="samples of one prompt that best_of_n may draw")
    workspace: Path | None = Field(
        None, description="folder the intern works in; nothing: one in the session's folder"
    )
    state: Path = Field(
        default_factory=lambda: Path(platformdirs.user_state_path("ml-intern")),
        description="folder of sessions, datasets and the embedded Hub",
    )
    data_dirs: Paths = Field(default_factory=list, description="further folders that tools may read")
    closed_dirs: Paths = Field(
        default_factory=list, description="folders that neither tools nor cells read, wherever they lie"
    )
    tools: Paths = Field(default_factory=list, description="folders with a user's own tools")
    mcp_servers: dict[str, dict[str, Any]] = Field(
        default_factory=dict, description="MCP servers whose tools the intern may call, by name"
    )
    playbooks: Paths = Field(default_factory=list, description="folders with a user's own playbooks")

    @field_validator("contamination")
    @classmethod
    def _known_nearness(cls, given: dict[str, float]) -> dict[str, float]:
        Nearness.of(given)
        return given

    @field_validator("web_mirrors")
    @classmethod
    def _known_services(cls, given: dict[str, str]) -> dict[str, str]:
        from ml_intern.web.manners import MIRRORED

        for name, url in given.items():
            if name not in MIRRORED:
                raise ValueError(f"there is no service {name!r}{did_you_mean(name, MIRRORED)}")
            if not url.startswith(("http://", "https://")):
                raise ValueError(f"{url!r} is no http address")
        return given

    @field_validator("web_private")
    @classmethod
    def _known_places(cls, given: list[str]) -> list[str]:
        if given:
            from ml_intern.web.addresses import Doors

            Doors(given)
        return given

    @field_validator("alerts")
    @classmethod
    def _known_thresholds(cls, given: dict[str, float]) -> dict[str, float]:
        Thresholds.of(given)
        return given

    @field_validator("trackio")
    @classmethod
    def _trackio_is_there(cls, wanted: bool) -> bool:
        if wanted and importlib.util.find_spec("trackio") is None:
            raise ValueError("Trackio is not installed: pip install 'ml-intern[trackio]'")
        return wanted

    # Hub
    hub: Literal["auto", "embedded", "remote"] = Field(
        "auto", description="auto: remote with HF_ENDPOINT or a token"
    )
    hub_port: int = Field(0, ge=0, le=65535, description="port of the embedded Hub; 0: any that is free")

    # Web app
    upload_mb: int = Field(512, ge=1, description="largest dataset that a person may upload in the web app")

    # Web
    offline: bool = Field(False, description="pages come from the cache alone; HF_HUB_OFFLINE does it, too")
    web_cache: Path = Field(
        default_factory=lambda: Path(platformdirs.user_cache_path("ml-intern")) / "web",
        description="folder of fetched pages; sessions that share it share rate limits",
    )
    web_cache_mb: int = Field(1024, ge=8, description="what fetched pages may take")
    web_contact: str = Field("", description="mail address or URL in the User-Agent of requests")
    web_hosts: Words = Field(
        default_factory=lambda: list(HOSTS),
        description="hosts of which any page may be read; elsewhere only what a page or the person named",
    )
    web_private: Words = Field(
        default_factory=list,
        description="hosts, HOST:PORT or networks inside your own network that tools may fetch from",
    )
    web_mirrors: dict[str, str] = Field(
        default_factory=dict,
        description="other addresses, by name: arxiv, arxiv-site, semantic-scholar, openalex, huggingface,"
        " dataset-viewer, github, github-raw, duckduckgo, bing",
    )

    # Telling and sharing
    notify: Words = Field(
        default_factory=list,
        repr=False,
        description="who is told outside: slack (its URL is in SLACK_WEBHOOK_URL), URLs of webhooks;"
        " slack+URL speaks Slack's format",
    )
    notify_on: Words = Field(
        default_factory=lambda: ["approval", "done", "failed", "limit", "message"],
        description="of what: approval, done, failed, limit, stopped, message (words of the intern's own)",
    )
    notify_secret: str | None = Field(
        None, repr=False, description="signs what webhooks get, in the header X-Hub-Signature-256"
    )

    share_traces: Annotated[str, BeforeValidator(_as_repo)] = Field(
        "",
        description="private dataset for traces of sessions: OWNER/NAME; true: your own ml-intern-traces",
    )

    @field_validator("share_traces")
    @classmethod
    def _known_name(cls, given: str) -> str:
        from ml_intern.hub.names import repo_name_problem

        if given and (problem := repo_name_problem(given)):
            raise ValueError(problem)
        return given

    @field_validator("notify")
    @classmethod
    def _known_targets(cls, given: list[str]) -> list[str]:
        from ml_intern.notifying.targets import check_target

        if problem := next(filter(None, map(check_target, given)), ""):
            raise ValueError(problem)
        return given

    @field_validator("notify_on")
    @classmethod
    def _known_kinds(cls, given: list[str]) -> list[str]:
        from ml_intern.notifying.messages import KINDS

        for kind in given:
            if kind not in KINDS:
                raise ValueError(f"there is no {kind!r}{did_you_mean(kind, KINDS)}")
        return given

    # Web app
    app_sessions: int = Field(
        4, ge=1, description="sessions of the web app that may have a process at one time, of all its users"
    )
    app_rest_s: float = Field(
        1800, gt=0, description="a session of the web app that waits so long gives its process back"
    )
    app_users: Words = Field(
        default_factory=list,
        description="Hugging Face names that may use the web app on a Space; nothing: the Space's owner",
    )
    app_models: Words = Field(
        default_factory=list,
        description="SCHEME:NAME of models that users of the web app may choose besides `model`",
    )

    # Router
    tool_retries: int = Field(4, ge=0, description="tries after a transient error of a tool")
    policy: list[dict[str, Any]] = Field(default_factory=list, description="gate rules, first match wins")

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        dotenv_settings: PydanticBaseSettingsSource,
        file_secret_settings: PydanticBaseSettingsSource,
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        """Arguments, environment, project file, user file."""
        here = current_folder() / FILE
        project = _settings_of(here, settings_cls)
        check_trust(here, project.toml_data, settings_cls.model_fields)
        user = _settings_of(platformdirs.user_config_path("ml-intern") / FILE, settings_cls)
        return init_settings, env_settings, project, user

    @classmethod
    def load(cls, **given: Any) -> Settings:
        """Settings from every source, with one line for what is wrong.

        Raises:
            UsageError: A value does not fit, a key is not known, or a variable is nearly a setting.
        """
        check_spelling(os.environ, cls.model_fields)
        try:
            settings = cls(**{k: v for k, v in given.items() if v is not None})
        except ValidationError as error:
            first = error.errors(include_url=False)[0]
            name = ".".join(str(p) for p in first["loc"])
            if first["type"] == "extra_forbidden":
                told = f"Unknown setting {name!r}{did_you_mean(name, cls.model_fields)}."
                raise UsageError(told, f"{_stands(name, given)} {_LISTED}") from None
            shown = "" if name.partition(".")[0] in SECRET else f" = {first['input']!r}"
            what = cls.model_fields.get(name.partition(".")[0])
            meant = f"It is: {what.description}." if what and what.description else _LISTED
            said = first["msg"].removeprefix("Value error, ").lower()
            told = f"Setting {name}{shown}: {said}."
            raise UsageError(told, f"{_stands(name, given)} {meant}") from None
        except SettingsError as error:
            found = re.search(r'field "(\w+)"', str(error))
            name = f"ML_INTERN_{found[1].upper()}" if found else "A variable ML_INTERN_…"
            told = """Lists and tables are written as JSON there: '["a", "b"]', '{"name": 1}'."""
            raise UsageError(f"{name} cannot be read: it is not JSON.", told) from None
        settings.state = settings.state.expanduser().absolute()
        if settings.workspace:
            settings.workspace = settings.workspace.expanduser().absolute()
        return settings

    @property
    def eval_name(self) -> str | None:
        """What the evaluation that decides is called; None where none was named."""
        from ml_intern.evals.named import first_name

        return first_name(self.eval)

    @property
    def slots(self) -> int:
        """Jobs that may run at one time on this machine."""
        return self.job_slots or max(2, (os.cpu_count() or 2) // 2)
