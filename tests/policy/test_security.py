"""Nothing read from disk runs code, and nothing goes to the network unasked."""

import ast
import json
import os
import pickle
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
import yaml

from jepa.config.load import load_config
from jepa.config.schema import PretrainConfig
from jepa.config.yaml_text import write
from jepa.errors import CheckpointError, ConfigError, DataError
from tests.policy.source import MODULES, ROOT, SOURCES, name_of, tree_of

# Where something that is forbidden elsewhere is done, in a way that the tests below and beside it look at.
ALLOWED = {
    "jepa.config.yaml_text": {"yaml.load"},  # with a SafeLoader of its own
    "jepa.runtime.sharded": {"pickle.Unpickler"},  # of named classes alone
    "jepa.models.formats.torch_export": {"torch.export.load"},  # of what was written a line before
    "jepa.models.formats": {"import_module of what is no literal"},  # names of this package's own files
    "jepa.runtime.extras": {"import_module of what is no literal"},
    "jepa": {"import_module of what is no literal"},
}
MODULES_THAT_RUN_CODE = {
    *(
        "dill",
        "cloudpickle",
        "joblib",
        "shelve",
        "marshal",
        "_pickle",
        "jsonpickle",
        "runpy",
        "code",
        "torch.hub",
    ),
    *("torch.package", "cPickle", "pandas"),
}
MODULES_OF_THE_NETWORK = {
    *(
        "requests",
        "httpx",
        "aiohttp",
        "urllib.request",
        "urllib3",
        "http.client",
        "ftplib",
        "smtplib",
        "paramiko",
    ),
    *("huggingface_hub", "boto3", "xmlrpc", "telnetlib"),
}
CALLS = {
    *("eval", "exec", "compile", "__import__", "execfile", "os.system", "os.popen", "subprocess.getoutput"),
    *(
        "subprocess.getstatusoutput",
        "os.execv",
        "os.execvp",
        "yaml.load",
        "yaml.full_load",
        "yaml.unsafe_load",
    ),
    *(
        "yaml.load_all",
        "yaml.Loader",
        "yaml.UnsafeLoader",
        "yaml.FullLoader",
        "torch.jit.load",
        "torch.export.load",
    ),
    *("numpy.lib.format.read_array", "npy.read_array", "imp.load_source", "importlib.reload"),
    *("importlib.util.spec_from_file_location", "importlib.machinery.SourceFileLoader"),
}
KEYWORDS = {"shell": False, "allow_pickle": False, "trust_remote_code": False, "weights_only": True}


def imports(tree: ast.Module) -> list[str]:
    """Every module that is imported, and every name that is taken out of one."""
    found = []
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            found += [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom) and node.level == 0:
            found += [node.module or "", *(f"{node.module}.{alias.name}" for alias in node.names)]
    return found


def dangers(tree: ast.Module) -> set[str]:
    """What in a file could run code from a file, or reach for the network."""
    banned = MODULES_THAT_RUN_CODE | MODULES_OF_THE_NETWORK
    found = {name for name in imports(tree) for each in banned if name == each or name.startswith(f"{each}.")}
    found |= {
        name for name in imports(tree) if name.startswith("pickle.")
    }  # `pickle.load` then has another name
    found |= {name for name in imports(tree) if name in ("torch.load", "numpy.load", "yaml.load")}
    for node in ast.walk(tree):
        if isinstance(node, ast.Attribute):
            name = ast.unparse(node)
            if name in CALLS or re.fullmatch(
                r"pickle\.(?!UnpicklingError$).*|torch\.hub\..*|socket\..*connect.*", name
            ):
                found.add(name)
        if not isinstance(node, ast.Call):
            continue
        called = ast.unparse(node.func)
        given = {word.arg: word.value for word in node.keywords}
        if called in CALLS:
            found.add(called)
        if called == "torch.load" and "weights_only" not in given:
            found.add("torch.load without weights_only")
        if called.endswith("import_module") and not (node.args and isinstance(node.args[0], ast.Constant)):
            found.add("import_module of what is no literal")
        for word, value in KEYWORDS.items():
            if word in given and ast.unparse(given[word]) != str(value):
                found.add(f"{word}={ast.unparse(given[word])}")
    return found


@pytest.mark.parametrize("path", SOURCES, ids=name_of)
def test_no_file_can_run_what_it_reads(path):
    found = dangers(tree_of(path)) - ALLOWED.get(name_of(path), set())
    assert not found, f"{name_of(path)}: {sorted(found)}"


@pytest.mark.parametrize(
    "text",
    [
        "torch.load(path)",
        "torch.load(path, weights_only=False)",
        "import pickle\npickle.loads(data)",
        "from pickle import load",
        "class A(pickle.Unpickler): ...",
        "yaml.load(text, Loader)",
        "yaml.unsafe_load(text)",
        "np.load(path, allow_pickle=True)",
        "np.load(path, allow_pickle=flag)",
        "eval(text)",
        "exec(text)",
        "compile(text, name, 'exec')",
        "subprocess.run(text, shell=True)",
        "os.system(text)",
        "torch.hub.load('a', 'b')",
        "from torch.hub import load",
        "import joblib",
        "from cloudpickle import loads",
        "import requests",
        "from urllib.request import urlopen",
        "socket.create_connection(('a', 1))",
        "importlib.import_module(config.name)",
        "AutoModel.from_pretrained(a, trust_remote_code=True)",
    ],
)
def test_each_danger_would_be_seen(text):
    assert dangers(ast.parse(text))


@pytest.mark.parametrize(
    "text",
    [
        "model.eval()",
        "re.compile('a')",
        "torch.load(p, weights_only=True)",
        "np.load(p)",
        "from pickle import x as y",
    ],
)
def test_what_is_harmless_is_let_through(text):
    assert bool(dangers(ast.parse(text))) == text.startswith("from pickle")


def test_the_loader_of_configs_is_a_safe_one():
    from jepa.config import yaml_text

    assert issubclass(yaml_text._Loader, yaml.SafeLoader)
    calls = [n for n in ast.walk(tree_of(MODULES["jepa.config.yaml_text"])) if isinstance(n, ast.Call)]
    loads = [ast.unparse(call) for call in calls if ast.unparse(call.func) == "yaml.load"]
    assert loads == ["yaml.load(text, _Loader)"]


class Attack:
    """Makes a file when it is unpickled without care."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple:
        return os.mkdir, (str(self.path),)


@pytest.fixture
def ran(tmp_path):
    """What an attack makes; it must not be there at the end."""
    path = tmp_path / "ran"
    pickle.loads(pickle.dumps(Attack(path)))
    assert path.exists(), "the attack is none"
    path.rmdir()
    yield path
    assert not path.exists(), "code from a file was run"


@pytest.mark.parametrize("wrapped", [False, True])
@pytest.mark.parametrize("name", ["step-000000003.pt", "weights.pth", "weights.bin", "model.safetensors"])
def test_weights(tmp_path, ran, name, wrapped):
    import jepa
    from jepa.runtime.checkpoint import load_checkpoint

    path = tmp_path / name
    if wrapped:
        torch.save({"format": 1, "program": "pretrain", "objective": Attack(ran)}, path)
    else:
        path.write_bytes(pickle.dumps(Attack(ran)))
    for load in (load_checkpoint, jepa.load_encoder, jepa.load_world_model):
        with pytest.raises(CheckpointError):
            load(path)


def test_a_run_that_is_continued(tmp_path, ran):
    from jepa.programs.resume import resume
    from jepa.runtime.run_dir import RunDir

    class State:
        from jepa.runtime.distributed import ALONE as ranks

        config = PretrainConfig.model_construct(program="pretrain")
        sharded = False

    (tmp_path / "checkpoints").mkdir()
    torch.save(
        {"format": 1, "step": 3, "config": Attack(ran)}, tmp_path / "checkpoints" / "step-000000003.pt"
    )
    with pytest.raises(CheckpointError, match="would run code"):
        resume(State, RunDir(tmp_path), free=())


@pytest.mark.parametrize("key", ["format", "step"])
def test_facts_of_checkpoints_in_parts_are_json(tmp_path, ran, key):
    """The table of contents, which torch pickles, is attacked in tests/runtime/test_sharded.py."""
    from jepa.runtime.checkpoint import load_checkpoint

    (tmp_path / "facts.json").write_bytes(pickle.dumps({key: Attack(ran)}))
    with pytest.raises(CheckpointError, match="is no whole checkpoint"):
        load_checkpoint(tmp_path)


@pytest.mark.parametrize(
    "tag", ["object/apply:os.mkdir", "object/new:os.mkdir", "object/apply:builtins.exec"]
)
def test_configs(tmp_path, ran, tag):
    path = tmp_path / "config.yaml"
    argument = f"open({str(ran)!r}, 'w')" if tag.endswith("exec") else str(ran)
    path.write_text(f"run_dir: !!python/{tag} [{json.dumps(argument)}]\n")
    with pytest.raises(ConfigError, match="could not determine a constructor for the tag"):
        load_config(path)
    path.write_text("run_dir: run\n")
    with pytest.raises(ConfigError):
        load_config(path, [f"run_dir=!!python/{tag} [{json.dumps(argument)}]"])


def write_objects(path: Path, ran: Path) -> None:
    """Write a .npy file of Python objects."""
    with path.open("wb") as file:
        np.lib.format.write_array(file, np.array([Attack(ran)], dtype=object), allow_pickle=True)


@pytest.mark.parametrize("name", ["clips.npy", "mean.npy"])
def test_features(tmp_path, ran, name):
    from jepa.data.feature_store import CLIP, FeatureStore, Manifest
    from jepa.data.sources import Entry

    facts = {"fingerprint": "f", "model": "run", "settings": {}, "config": {}, "kinds": ("mean",)}
    facts |= {"dtype": "float32", "source": "list", "modality": "video", "classes": (), "targets": ()}
    manifest = Manifest(**facts, entries=1, shard_entries=1)
    store = FeatureStore.create(tmp_path / "features", manifest, (Entry("a.mp4"),))
    store.write(0, np.zeros(1, CLIP), {"mean": np.ones((1, 2), np.float32)}, [])
    assert FeatureStore.open(store.root).array("mean")[:].tolist() == [[1, 1]]
    write_objects(next(store.root.rglob(name)), ran)
    with pytest.raises((DataError, ValueError), match="Object arrays cannot be loaded|Python objects"):
        found = FeatureStore.open(store.root)
        found.clips()
        found.array("mean")


def test_recorded_episodes(tmp_path, ran):
    from jepa.data.trajectories.store import open_episode
    from jepa.data.video import UnreadableError

    path = tmp_path / "episode-000000.npz"
    for save in (np.savez, np.savez_compressed):
        save(path, frames=np.zeros((2, 4, 4, 3), np.uint8), actions=np.array([Attack(ran)], dtype=object))
        with pytest.raises(UnreadableError, match="Python objects"):
            open_episode(path)
    path.write_bytes(pickle.dumps(Attack(ran)))
    with pytest.raises(UnreadableError, match="is no npz file"):
        open_episode(path)


def test_indices_of_shards(tmp_path, ran):
    import io

    from jepa.data.shard_index import ShardIndex

    for attack in ({"texts": [Attack(ran)]}, {"format": [Attack(ran)]}, {"numbers": [Attack(ran)]}):
        fields = {"format": "jepa shard index 1", "stamp": [100, 0], "offsets": [10], "sizes": [20]}
        arrays = {name: np.array(value) for name, value in fields.items()}
        arrays |= {name: np.array(value, dtype=object) for name, value in attack.items()}
        out = io.BytesIO()
        np.savez(out, **arrays)
        with pytest.raises(DataError, match="the index of this shard is damaged"):
            ShardIndex.load(out.getvalue(), "shard")
    with pytest.raises(DataError, match="the index of this shard is damaged"):
        ShardIndex.load(pickle.dumps(Attack(ran)), "shard")


def test_a_folder_of_timm_names_no_second_file(tmp_path, ran):
    """timm opens it while it builds the model; its older versions without care."""
    import timm
    from safetensors.torch import save_file

    import jepa

    save_file(timm.create_model("test_vit", num_classes=0).state_dict(), tmp_path / "model.safetensors")
    torch.save(Attack(ran), tmp_path / "second.pth")
    config = {"architecture": "test_vit", "pretrained_cfg": {"input_size": [3, 160, 160]}, "num_features": 64}
    config["model_args"] = {"img_size": 160}
    (tmp_path / "config.json").write_text(json.dumps(config))
    jepa.load_encoder(tmp_path, device="cpu")
    config["model_args"]["checkpoint_path"] = str(tmp_path / "second.pth")
    (tmp_path / "config.json").write_text(json.dumps(config))
    with pytest.raises(
        CheckpointError, match="names a checkpoint_path, a second file of weights, which is not opened"
    ):
        jepa.load_encoder(tmp_path, device="cpu")


# The network. Python finds sitecustomize before it runs anything else.
NO_NETWORK = """
import os, socket, traceback

def outside(address):
    host = address[0] if isinstance(address, tuple) else ""
    return isinstance(address, tuple) and host not in ("localhost", "127.0.0.1", "::1", "")

def refuse(what):
    with open(os.environ["TOUCHED"], "a") as file:
        file.write(f"{what}\\n{''.join(traceback.format_stack(limit=12))}\\n")
    raise OSError(f"the network was touched: {what}")

class Socket(socket.socket):
    def connect(self, address):
        return refuse(address) if outside(address) else super().connect(address)
    def connect_ex(self, address):
        return refuse(address) if outside(address) else super().connect_ex(address)
    def sendto(self, *words):
        return refuse(words[-1]) if outside(words[-1]) else super().sendto(*words)

find = socket.getaddrinfo
socket.socket = Socket
socket.getaddrinfo = lambda host, *words, **named: (
    refuse(host) if outside((host or "",)) else find(host, *words, **named))
"""
VERBS = """
import importlib, json, sys
for name in json.loads(sys.argv[1]):
    importlib.import_module(name)
from jepa.cli import main
for words in json.loads(sys.argv[2]):
    sys.argv = ["jepa", *words]
    try:
        main()
    except SystemExit as stop:
        if stop.code:
            sys.exit(f"{words}: exit code {stop.code}")
"""


def without_network(folder: Path, *command: str) -> tuple[subprocess.CompletedProcess, str]:
    """Run Python with a network that refuses; return how it ended and who reached for it."""
    (folder / "sitecustomize.py").write_text(NO_NETWORK)
    touched = folder / "touched"
    hidden = (
        "HF_",
        "TRANSFORMERS_",
        "WANDB_",
        "NO_PROXY",
        "HTTP",
        "http",
    )  # nothing is switched off from outside
    environment = {name: value for name, value in os.environ.items() if not name.startswith(hidden)}
    environment |= {"PYTHONPATH": f"{folder}:{ROOT}", "TOUCHED": str(touched), "OMP_NUM_THREADS": "1"}
    environment |= {"HF_HOME": str(folder / "hub"), "TORCH_HOME": str(folder / "torch")}
    done = subprocess.run(
        [sys.executable, *command], env=environment, cwd=folder, capture_output=True, text=True, check=False
    )
    return done, touched.read_text() if touched.exists() else ""


@pytest.mark.parametrize(
    "reach",
    [
        "import urllib.request; urllib.request.urlopen('http://example.com')",
        "import socket; socket.create_connection(('192.0.2.1', 80))",
        "import socket; socket.socket().connect(('192.0.2.1', 80))",
        "import socket; socket.socket(type=socket.SOCK_DGRAM).sendto(b'', ('192.0.2.1', 80))",
    ],
)
def test_reaching_for_the_network_would_be_seen(tmp_path, reach):
    done, touched = without_network(tmp_path, "-c", reach)
    assert done.returncode != 0 and touched


@pytest.fixture
def verbs(tmp_path):
    """Write tiny configs and data; return commands that use all of them."""
    from jepa.config.envs import CollectConfig
    from jepa.config.load import parse
    from jepa.data.synthetic import write_videos
    from jepa.programs.collect import collect
    from tests.programs.conftest import run_values, world_values, write_kinds

    write_videos(tmp_path / "videos", count=16, seed=0, frames=16, size=32, fps=8)
    write_kinds(tmp_path / "videos")
    env, episodes = {"kind": "two-room", "size": 16}, tmp_path / "episodes"
    collect(
        parse({"env": env, "path": str(episodes), "episodes": 6, "steps": 20, "workers": 0}, CollectConfig)
    )
    pretrain = run_values(tmp_path / "videos", tmp_path / "run")
    pretrain["optim"]["steps"], pretrain["log"] = 2, {"every_steps": 1, "tensorboard": True}
    listed = {"kind": "csv", "path": str(tmp_path / "videos" / "kinds.csv")}
    solver = {"kind": "cem", "samples": 4, "iterations": 1, "elites": 2}
    configs = {
        "pretrain": pretrain,
        "probe": {
            **{"name": "kinds", "model": str(tmp_path / "run"), "run_dir": str(tmp_path / "probe")},
            **{"train": listed, "test": listed, "clips": {"workers": 0}},
            "features_dir": str(tmp_path / "features"),
        },
        "world": world_values(episodes, tmp_path / "world"),
        "plan": {
            **{
                "run_dir": str(tmp_path / "plan"),
                "model": str(tmp_path / "world"),
                "env": env,
                "episodes": 1,
            },
            **{"goals": {"kind": "drawn", "steps": 3}, "parallel": 1, "videos": 0, "baselines": []},
            "planners": [{"name": "by latent", "solver": solver, "costs": [{"kind": "goal"}], "horizon": 2}],
        },
    }
    paths = {name: tmp_path / f"{name}.yaml" for name in configs}
    for name, values in configs.items():
        paths[name].write_text(write(values))
    return [
        ["check", str(paths["pretrain"])],
        ["show", str(paths["pretrain"])],
        ["show", str(ROOT / "configs" / "pretrain" / "vjepa2-vitl.yaml"), "--hardware", "h100:8"],
        ["pretrain", str(paths["pretrain"])],
        ["show", str(tmp_path / "run")],
        ["probe", str(paths["probe"])],
        ["world-model", str(paths["world"])],
        ["plan", str(paths["plan"])],
    ]


@pytest.mark.slow
def test_no_verb_touches_the_network(tmp_path, verbs):
    """Nor does importing any part of the package; encoders of timm are built, not fetched, unless asked for."""
    done, touched = without_network(tmp_path, "-c", VERBS, json.dumps(sorted(MODULES)), json.dumps(verbs))
    assert done.returncode == 0, done.stderr[-3000:]
    assert not touched, touched
