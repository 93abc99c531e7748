"""`jepa data collect` as a user meets it."""

import json


def test_collect_records_and_goes_on(jepa, tmp_path):
    small = ("--set", "env.size=16", "--set", "steps=3")
    folder = tmp_path / "episodes"
    done = jepa("data", "collect", "two-room", "--out", folder, "--episodes", 2, *small)
    assert (done.code, done.stdout) == (
        0,
        f"done: 2 of 2 episodes in {folder}, 2 of them recorded now\n",
    )
    done = jepa("data", "collect", "two-room", "--out", folder, "--episodes", 5, *small, "--json")
    result = json.loads(done.stdout)
    assert (result["status"], result["episodes"], result["recorded"], result["steps"]) == ("done", 5, 3, 9)
    done = jepa("data", "collect", "two-room", "--out", folder, "--episodes", 5, "--policy", "expert", *small)
    assert done.code == 1 and "another recording (policy: 'random', wanted 'expert')" in done.stderr


def test_collect_reads_a_file(jepa, tmp_path):
    config = tmp_path / "collect.yaml"
    config.write_text(
        f"env: {{kind: two-room, size: 16}}\npath: {tmp_path / 'a'}\nepisodes: 9\nsteps: 3\nseed: 4\n"
    )
    done = jepa("data", "collect", config, "--episodes", 1, "--json")
    assert json.loads(done.stdout)["episodes"] == 1
    assert json.loads((tmp_path / "a" / "manifest.json").read_text())["seed"] == 4


def test_collect_names_all_mistakes(jepa):
    done = jepa("data", "collect", "three-room", "--policy", "clever")
    assert done.code == 2
    assert "env.kind: 'three-room' is not allowed; choose one of two-room, pusht" in done.stderr
    assert "policy: 'clever' is not allowed" in done.stderr
    assert "episodes" in done.stderr and "path" in done.stderr
