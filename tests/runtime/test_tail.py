from pathlib import Path

from jepa.runtime.tail import Tail


def test_lines_arrive_once_and_whole(tmp_path: Path) -> None:
    path = tmp_path / "log"
    tail = Tail(path)
    assert tail.lines() == []
    path.write_bytes(b"one\ntw")
    assert tail.lines() == ["one"]
    assert tail.lines() == []
    with path.open("ab") as file:
        file.write("o\n\nthré".encode()[:-1])  # an empty line, and one that is cut inside a character
    assert tail.lines() == ["two", ""]
    with path.open("ab") as file:
        file.write("é".encode()[-1:] + b"e\n")
    assert tail.lines() == ["thrée"]
    assert tail.restarts == 0


def test_a_file_that_is_cut_or_replaced_is_read_again(tmp_path: Path) -> None:
    path = tmp_path / "log"
    path.write_text("one\ntwo\n")
    tail = Tail(path)
    assert tail.lines() == ["one", "two"]
    path.write_text("new\n")
    assert (tail.lines(), tail.restarts) == (["new"], 1)
    (tmp_path / "part").write_text("longer than what was there\nand more\n")
    (tmp_path / "part").replace(path)  # as a run does that goes on from an earlier step
    assert (tail.lines(), tail.restarts) == (["longer than what was there", "and more"], 2)
