"""Heads that others trained: Hugging Face's classifier, and the released evaluations written out in plain torch."""

import pytest
import torch
import torch.nn.functional as F
from safetensors.torch import load_file, save_file
from torch import nn

import jepa
from jepa.errors import CheckpointError, DataError
from jepa.models.zoo import load_encoder
from jepa.probes.attentive import AttentiveNetwork, AttentiveProbe
from jepa.probes.published import load_probe
from tests.models.formats.hub import TOLERANCE, drawn, write_folder

WIDTH, CLASSES = 32, 5


def tokens_of(batch=3, count=7, scale=1.0):
    return torch.randn(batch, count, WIDTH, generator=torch.Generator().manual_seed(1)) * scale


class Attend(nn.Module):
    """Attention of the released evaluations; the cross-attention's has no projection, or one that is never called."""

    def __init__(self, heads, names, *, projected=True):
        super().__init__()
        self.heads, self.names = heads, names
        for name, parts in names.items():
            setattr(self, name, nn.Linear(WIDTH, parts * WIDTH))
        if projected:
            self.proj = nn.Linear(WIDTH, WIDTH)

    def forward(self, query, x):
        made = [getattr(self, name)(query if name == "q" else x) for name in self.names]
        q, k, v = torch.cat(made, -1).chunk(3, -1) if len(made) == 1 else (made[0], *made[1].chunk(2, -1))
        q, k, v = (each.unflatten(-1, (self.heads, -1)).transpose(1, 2) for each in (q, k, v))
        weights = (q @ k.mT / (WIDTH // self.heads) ** 0.5).softmax(-1)
        return (weights @ v).transpose(1, 2).flatten(2)


class Mlp(nn.Module):
    def __init__(self):
        super().__init__()
        self.fc1, self.fc2 = nn.Linear(WIDTH, 4 * WIDTH), nn.Linear(4 * WIDTH, WIDTH)

    def forward(self, x):
        return self.fc2(F.gelu(self.fc1(x)))


class SelfBlock(nn.Module):
    def __init__(self, heads):
        super().__init__()
        self.norm1, self.attn = nn.LayerNorm(WIDTH), Attend(heads, {"qkv": 3})
        self.norm2, self.mlp = nn.LayerNorm(WIDTH), Mlp()

    def forward(self, x):
        normal = self.norm1(x)
        x = x + self.attn.proj(self.attn(normal, normal))
        return x + self.mlp(self.norm2(x))


class CrossBlock(nn.Module):
    def __init__(self, heads, projected):
        super().__init__()
        self.norm1, self.xattn = nn.LayerNorm(WIDTH), Attend(heads, {"q": 1, "kv": 2}, projected=projected)
        self.norm2, self.mlp = nn.LayerNorm(WIDTH), Mlp()

    def forward(self, query, x):
        query = query + self.xattn(query, self.norm1(x))
        return query + self.mlp(self.norm2(query))


class Pooler(nn.Module):
    def __init__(self, heads, blocks, projected, queries):
        super().__init__()
        self.query_tokens = nn.Parameter(torch.zeros(1, queries, WIDTH))
        self.cross_attention_block = CrossBlock(heads, projected)
        if blocks:
            self.blocks = nn.ModuleList(SelfBlock(heads) for _ in range(blocks))


class Evaluated(nn.Module):
    """The released head, by its published names (facebookresearch/vjepa2, src/models/attentive_pooler.py)."""

    def __init__(self, blocks, heads=16, *, projected=False, queries=1):
        super().__init__()
        self.pooler = Pooler(heads, blocks, projected, queries)
        self.linear = nn.Linear(WIDTH, CLASSES)

    def forward(self, x):
        for block in getattr(self.pooler, "blocks", ()):
            x = block(x)
        query = self.pooler.query_tokens.expand(len(x), -1, -1)
        return self.linear(self.pooler.cross_attention_block(query, x)[:, 0])


def written(path, *heads, key="classifiers"):
    """Write heads as the released evaluations do."""
    states = [{f"module.{name}": value for name, value in head.state_dict().items()} for head in heads]
    torch.save({key: states if key == "classifiers" else states[0], "opt": None, "epoch": 20}, path)
    return path


@pytest.mark.parametrize("blocks", [0, 1, 3])
def test_a_released_head_of_v_jepa_2(tmp_path, blocks):
    head, tokens = drawn(Evaluated(blocks)), tokens_of()
    probe = load_probe(written(tmp_path / "head.pt", head), device="cpu")
    assert (probe.blocks, probe.heads, probe.classes, probe.labels) == (blocks, 16, (0, 1, 2, 3, 4), ())
    wanted = head(tokens)
    torch.testing.assert_close(probe.decision(tokens), wanted, **TOLERANCE)
    torch.testing.assert_close(probe.predict_proba(tokens), wanted.softmax(1), **TOLERANCE)
    assert torch.equal(probe.predict(tokens), wanted.argmax(1))


def test_a_released_head_of_v_jepa_1(tmp_path):
    head, tokens = drawn(Evaluated(0, 4, projected=True)), tokens_of()
    path = written(tmp_path / "head.pt", head, key="classifier")
    probe = load_probe(path, attention_heads=4, device="cpu")
    torch.testing.assert_close(probe.decision(tokens), head(tokens), **TOLERANCE)


def test_the_keys_bias_changes_nothing():
    head, tokens = drawn(Evaluated(1)).double(), tokens_of().double()
    before = head(tokens)
    head.pooler.cross_attention_block.xattn.kv.bias[:WIDTH] += 10 * torch.randn(WIDTH).double()
    torch.testing.assert_close(head(tokens), before, atol=1e-12, rtol=0)
    head.pooler.cross_attention_block.xattn.kv.bias[WIDTH:] += 1
    assert (head(tokens) - before).abs().max() > 0.01


def test_one_of_several_heads_is_chosen_by_its_number(tmp_path):
    heads, tokens = [drawn(Evaluated(0), seed) for seed in range(3)], tokens_of()
    path = written(tmp_path / "heads.pt", *heads)
    for number, head in enumerate(heads):
        probe = load_probe(path, number=number, device="cpu")
        torch.testing.assert_close(probe.decision(tokens), head(tokens), **TOLERANCE)
    with pytest.raises(CheckpointError, match="holds 3 heads, one for each setting .* give number=0 to 2"):
        load_probe(path)
    with pytest.raises(CheckpointError, match="3 heads, counted from 0: there is no 3"):
        load_probe(path, number=3)


def test_a_loaded_head_scores_and_refuses_other_features(tmp_path):
    head, tokens = drawn(Evaluated(1)), tokens_of(40)
    probe = load_probe(written(tmp_path / "head.pt", head), device="cpu")
    assert probe.score(tokens, probe.predict(tokens)) == 1
    with pytest.raises(DataError, match=r"shape \(7, 16\), but the head was fitted on \(None, 32\)"):
        probe.decision(tokens[..., :16])


def test_every_weight_is_accounted_for(tmp_path):
    path, head = tmp_path / "head.pt", drawn(Evaluated(1))
    state = head.state_dict()
    less = {name: value for name, value in state.items() if not name.endswith("xattn.kv.bias")}
    cut = {name: value for name, value in state.items() if "blocks.0.mlp.fc2" not in name}
    for bad, message in [
        (state | {"action_classifier.bias": torch.zeros(3)}, r"unknown names: action_classifier\.bias"),
        (less, "no head with one query and a bias for keys"),
        (
            cut,
            r"not the weights of an attentive head of 1 blocks: blocks\.0\.fc2\.bias, blocks\.0\.fc2\.weight",
        ),
        (state | {"linear.bias": torch.zeros(9)}, r"of 1 blocks: linear\.bias"),
        (drawn(Evaluated(1, queries=3)).state_dict(), "no head with one query"),
        (
            drawn(Evaluated(1, projected=True)).state_dict(),
            "V-JEPA 1 head of 2 blocks, .* Use one of depth 1",
        ),
    ]:
        torch.save({"classifier": bad}, path)
        with pytest.raises(CheckpointError, match=message):
            load_probe(path)
    written(path, head)
    with pytest.raises(CheckpointError, match="5 attention heads do not divide the weights' width 32"):
        load_probe(path, attention_heads=5)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ({"encoder": {}}, "holds encoder, but no 'classifiers' or 'classifier'"),
        ({"classifiers": []}, "holds no weights under 'classifiers'"),
        ({"classifier": torch.zeros(1)}, "holds no weights under 'classifier'"),
    ],
)
def test_what_holds_no_head_is_refused(tmp_path, content, message):
    torch.save(content, tmp_path / "file.pt")
    with pytest.raises(CheckpointError, match=message):
        load_probe(tmp_path / "file.pt")
    with pytest.raises(
        CheckpointError, match="a folder of file.pt.*Heads are read from a folder of VJEPA2For"
    ):
        load_probe(tmp_path)
    with pytest.raises(CheckpointError, match=r"nowhere\.pt does not exist"):
        load_probe(tmp_path / "nowhere.pt")


@pytest.mark.parametrize("blocks", [0, 1, 3])
def test_shapes_are_those_of_a_fresh_head(blocks):
    network = AttentiveNetwork(7, 16, blocks, 4, 3)
    fresh = network.start(torch.Generator().manual_seed(0))
    assert network.shapes() == {name: tuple(weight.shape) for name, weight in fresh.items()}


def test_restored_weights_answer_as_the_fitted_head_did(generator):
    features, labels = torch.randn(12, 5, 16, generator=generator), torch.arange(12) % 3
    fitted = AttentiveProbe(blocks=1, heads=4, epochs=2, learning_rates=[1e-3], weight_decays=[0.1])
    fitted.fit(features, labels)
    again = AttentiveProbe(blocks=1, heads=4).restore(fitted.weights, ["a", "b", "c"])
    assert torch.equal(again.decision(features), fitted.decision(features))
    assert again.labels == ("a", "b", "c")
    with pytest.raises(ValueError, match="2 labels cannot name 3 outputs"):
        AttentiveProbe(blocks=1, heads=4).restore(fitted.weights, ["a", "b"])
    with pytest.raises(ValueError, match=r"head of 2 blocks: blocks\.1\.fc1\.bias"):
        AttentiveProbe(blocks=2, heads=4).restore(fitted.weights)


LABELS = {0: "push", 1: "pull", 2: "lift", 3: "drop"}
SHAPE = {"hidden_size": WIDTH, "num_pooler_layers": 2, "pred_num_hidden_layers": 1, "id2label": LABELS}


@pytest.fixture
def classifier(tmp_path):
    """Write folders of transformers' classifier, and return the model."""
    pytest.importorskip("transformers")
    return lambda **changes: write_folder(tmp_path, "VJEPA2ForVideoClassification", **SHAPE | changes)


@pytest.mark.parametrize(
    "changes",
    [
        {},
        {"num_pooler_layers": 0},
        {"num_pooler_layers": 3, "num_attention_heads": 4},
        {"id2label": {number: f"label {number}" for number in range(12)}},
    ],
)
def test_clip_to_logits_equals_transformers(classifier, tmp_path, changes):
    model = classifier(**changes)
    clip = torch.randn(3, 3, 6, 32, 32, generator=torch.Generator().manual_seed(1))
    wanted = model(clip.transpose(1, 2)).logits
    probe = jepa.load_probe(tmp_path, device="cpu")
    found = probe.decision(load_encoder(tmp_path, device="cpu")(clip))
    assert wanted.std() > 0.1
    torch.testing.assert_close(found, wanted, **TOLERANCE)
    assert probe.labels == tuple((SHAPE | changes)["id2label"].values())
    assert [probe.labels[number] for number in probe.predict(load_encoder(tmp_path, device="cpu")(clip))] == [
        model.config.id2label[number] for number in wanted.argmax(1).tolist()
    ]


def test_small_features_meet_the_folders_own_eps(classifier, tmp_path):
    """1e-6 there, 1e-5 in the evaluations: of features this small, another eps gives another answer."""
    model, tokens = classifier(), tokens_of(scale=1e-3)
    probe = load_probe(tmp_path, device="cpu")
    wanted = model.classifier(model.pooler(tokens))
    assert probe.norm_eps == 1e-6
    torch.testing.assert_close(probe.decision(tokens), wanted, **TOLERANCE)
    other = AttentiveProbe(blocks=2, heads=2).restore(probe.weights)
    assert (other.decision(tokens) - wanted).abs().max() > 0.01


def test_a_folder_is_read_exactly(classifier, tmp_path):
    classifier()
    path = tmp_path / "model.safetensors"
    state = load_file(path)
    less = {
        name: value
        for name, value in state.items()
        if "self_attention_layers.1.self_attn.k_proj.bias" not in name
    }
    base = {name: value for name, value in state.items() if name.startswith("vjepa2.")}
    for bad, message in [
        (less, r"of 2 blocks: blocks\.1\.q_proj"),
        (state | {"head.bias": torch.zeros(1)}, r"unknown names: head\.bias"),
        (
            state | {"classifier.weight": torch.zeros(5, WIDTH), "classifier.bias": torch.zeros(5)},
            "4 labels cannot name 5",
        ),
        (base, "holds no classifier, only VJEPA2ForVideoClassification"),
    ]:
        save_file(bad, path)
        with pytest.raises(CheckpointError, match=message):
            load_probe(tmp_path)
    with pytest.raises(CheckpointError, match="a folder, which holds one head"):
        load_probe(tmp_path, number=0)
