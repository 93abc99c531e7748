"""Online k-NN: clips of one video do not answer each other."""

import torch

from jepa.programs import health as program
from jepa.programs.health import Health
from jepa.programs.pretrain_step import fresh_state


def test_clips_of_one_video_do_not_answer_each_other(run_config, videos, tmp_path, monkeypatch):
    names = sorted(path.name for path in videos.glob("*.mp4"))
    pieces = [f"{name},{'ab'[n % 2]},{start},{start + 8}" for n, name in enumerate(names) for start in (0, 8)]
    (videos / "pieces.csv").write_text("\n".join(pieces))
    source = {"kind": "csv", "path": str(videos / "pieces.csv")}
    config = run_config(probes=[{"name": "pieces", "train": source, "test": source}])
    seen = []
    plain = program.knn_accuracy
    monkeypatch.setattr(program, "knn_accuracy", lambda *a, **k: seen.append(k["groups"]) or plain(*a, **k))
    assert 0 <= Health(fresh_state(config, torch.device("cpu"))).knn() <= 1
    assert len(seen[0]) == 48 and len(set(seen[0])) == 24 and seen[0][0] == seen[0][1]
