"""What the README and CONTRIBUTING say exists, exists; what is marked fast, runs."""

import ast
import os
import re
import shlex
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import typer
import yaml

import jepa
from jepa.cli import app
from jepa.config.load import load_config
from jepa.config.plan import PlanConfig
from jepa.config.probe import ProbeConfig
from jepa.config.schema import PretrainConfig
from jepa.config.world_model import WorldModelConfig
from jepa.errors import ConfigError
from tests.policy.source import ROOT

PAGES = {name: (ROOT / name).read_text(encoding="utf-8") for name in ("README.md", "CONTRIBUTING.md")}
BLOCK = re.compile(r"(?P<fast><!-- fast -->\n)?```(?P<language>\w*)\n(?P<body>.*?)```", re.DOTALL)


def blocks(language: str, *, fast: bool = False) -> list[str]:
    """The code blocks of the pages in a language."""
    found = [match for page in PAGES.values() for match in BLOCK.finditer(page)]
    return [match["body"] for match in found if match["language"] == language and (match["fast"] or not fast)]


def commands() -> list[str]:
    """Every `jepa ...`, `make ...` and .ci/run that the pages give, in blocks or in the text."""
    lines = [line for body in blocks("sh") for line in body.splitlines()]
    spans = [span for page in PAGES.values() for span in re.findall(r"`([^`\n]+)`", BLOCK.sub("", page))]
    stripped = [text.partition(" #")[0].strip() for text in [*lines, *spans]]
    return sorted({text for text in stripped if re.match(r"(jepa|make) \w", text)})


def paths() -> list[str]:
    """Every path of this project that the pages mention."""
    text = "\n".join(PAGES.values())
    spans = re.findall(r"`((?:jepa|configs|tests|docs|examples|evals|benchmarks|\.ci)/[^\s`]*)`", text)
    links = [link for link in re.findall(r"\]\(([^)]+)\)", text) if "://" not in link]
    files = re.findall(r"`([\w.-]+\.(?:md|cfg|toml))`", text)
    return sorted({*spans, *links, *files})


def verb_of(words: list[str]) -> tuple[Any, list[str]]:
    """The command that `jepa WORDS` runs, and the words that are left for it."""
    command: Any = typer.main.get_command(app)
    while words and words[0] in getattr(command, "commands", {}):
        command, words = command.commands[words[0]], words[1:]
    return command, words


@pytest.mark.parametrize("path", paths())
def test_every_path_exists(path):
    assert (ROOT / path).exists()


def test_paths_and_commands_are_found():
    assert {"jepa/config/schema.py", "CONTRIBUTING.md", "configs/pretrain/"} <= set(paths())
    assert {"make demo", "make test", "jepa demo", "jepa show vjepa2-vitl"} <= set(commands())


@pytest.mark.parametrize("command", commands())
def test_every_command_exists(command):
    program, *words = shlex.split(command)
    if program == "make":
        targets = re.findall(r"^([\w-]+):", (ROOT / "Makefile").read_text(), re.MULTILINE)
        assert words[0] in targets
        return
    verb, rest = verb_of(words)
    assert not hasattr(verb, "commands"), f"jepa {' '.join(words)}: no such verb"
    known = {flag for parameter in verb.params for flag in parameter.opts}
    unknown = {word.partition("=")[0] for word in rest if word.startswith("--")} - known
    assert not unknown, f"{command}: unknown flags {sorted(unknown)}"


@pytest.mark.parametrize("body", blocks("python"))
def test_python_uses_public_names(body):
    used = [node for node in ast.walk(ast.parse(body)) if isinstance(node, ast.Attribute)]
    names = {node.attr for node in used if ast.unparse(node.value) == "jepa"}
    assert names
    assert names <= set(jepa.__all__)


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> Path:
    """A folder with the YAML files that the README shows, and the shipped configs."""
    folder = tmp_path_factory.mktemp("readme")
    (folder / "configs").symlink_to(ROOT / "configs")
    for body in blocks("yaml"):
        (folder / body.split()[1]).write_text(body)
    return folder


@pytest.mark.parametrize("body", blocks("yaml"), ids=lambda body: body.split()[1])
def test_every_yaml_block_loads(body, folder):
    telling = {"heads": ProbeConfig, "dynamics": WorldModelConfig, "planners": PlanConfig}
    keys = yaml.safe_load(body)
    schema = next((schema for key, schema in telling.items() if key in keys), PretrainConfig)
    assert load_config(folder / body.split()[1], schema=schema)


def test_the_wrong_config_is_answered_as_shown(folder):
    changes = ["optim.lerning_rate=1", "data.fps=true", "model.patch=0"]
    with pytest.raises(ConfigError) as caught:
        load_config(folder / "first.yaml", changes)
    (shown,) = [body for body in blocks("") if "unknown key" in body]
    assert caught.value.problems == shown.splitlines()


@pytest.mark.slow
@pytest.mark.parametrize("body", blocks("sh", fast=True), ids=lambda body: body.split("\n")[0])
def test_fast_commands_run(body, folder):
    environment = os.environ | {"OMP_NUM_THREADS": "1", "PYTHONPATH": str(ROOT)}
    for line in body.splitlines():
        program, *words = shlex.split(line)
        assert program == "jepa"
        command = [sys.executable, "-m", "jepa", *words]
        done = subprocess.run(
            command, cwd=folder, env=environment, capture_output=True, text=True, timeout=300, check=False
        )
        assert done.returncode == 0, f"{line}\n{done.stdout}\n{done.stderr}"
