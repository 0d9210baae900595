"""Files of documents: what YAML itself can get wrong, where commands are looked for, safe writing."""

import stat
from collections.abc import Mapping
from pathlib import Path

import pytest

from document_texts import job, profile_text, queue_text
from kubesprint.adapters.files.specs import parse_documents, place_job, read_documents, write_documents
from kubesprint.apps.documents import load_policy, load_profiles, load_queue, write_profiles
from kubesprint.core.errors import Refused
from kubesprint.core.spec import Invalid, JobSpec, Problem, ProfilePoint, ProfileSpec
from kubesprint.core.units import Cores, Seconds


def written(tmp_path: Path, text: str | bytes) -> Path:
    file = tmp_path / "file.yaml"
    file.write_bytes(text if isinstance(text, bytes) else text.encode())
    return file


def refusal(tmp_path: Path, text: str | bytes) -> str:
    """What is said of the file when every document in it is otherwise accepted."""
    file = written(tmp_path, text)
    with pytest.raises(Refused) as caught:
        parse_documents(read_documents(file), lambda data: (data, []))
    return str(caught.value).replace(str(file), "FILE")


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("", "FILE: empty; a document starts with apiVersion and kind"),
        ("# only a comment\n---\n", "FILE: empty"),
        ("- a\n- b\n", "FILE:1: not a mapping"),
        ("just text\n", "FILE:1: not a mapping"),
        ("a: 1\nb: [1, 2\n", "FILE:3:1: not YAML: "),
        ("a: 1\n b: 2\n", "FILE:2:3: not YAML: mapping values are not allowed here"),
        ("a:\n\t- 1\n", "FILE:2:1: not YAML: "),
        ("a: *nowhere\n", "FILE:1:4: not YAML: found undefined alias"),
        ("a: 1\nb: \x00\n", "FILE:2: not YAML: the character #x00"),
        (b"a: 1\nb: \xff\n", "FILE:2: not UTF-8 text"),
        ("a: 1\nb: 2\na: 3\n", "FILE:3: a: written twice, on lines 1 and 3"),
        ("a:\n  b: {c: 1, c: 2}\n", "FILE:2: a.b.c: written twice, on lines 2 and 2"),
        ("a: .nan\n", "FILE:1: a: .nan is not a finite number"),
        ("a: [1, -.inf]\n", "FILE:1: a[1]: -.inf is not a finite number"),
        ("a: 1.0e+999\n", "FILE:1: a: 1.0e+999 is not a finite number"),
        ("a: 2026-13-45\n", "FILE:1: a: 2026-13-45 is not a value; if it is text, quote it"),
        ("3: a\n", 'FILE:1: 3: the key 3 is not text; quote it: "3"'),
        ("[a]: b\n", "FILE:1: line 1: a key must be text"),
        ("a: !!python/object:os.system {}\n", "FILE:1: a: the tag tag:yaml.org,2002:python/object:os.system"),
        ("a: !secret b\n", "FILE:1: a: the tag !secret is not used here"),
        ("a: &x [*x]\n", "FILE: nested too deeply"),
        ("a: " + "[" * 5000, "FILE: nested too deeply"),
        ("#" * (1 << 20) + "\na: 1\n", "FILE: larger than 1 MiB"),
        (
            "a0: &a0 [1]\n"
            + "".join(f"a{i}: &a{i} [{', '.join([f'*a{i - 1}'] * 10)}]\n" for i in range(1, 9)),
            "not YAML: aliases make it too large",
        ),
    ],
)
def test_what_is_not_a_plain_document_is_refused_with_its_place(
    text: str | bytes, says: str, tmp_path: Path
) -> None:
    message = refusal(tmp_path, text)
    assert says in message
    assert "\n" not in message


def test_a_missing_file_a_folder_and_a_queue_for_a_policy_are_refused(tmp_path: Path) -> None:
    with pytest.raises(Refused, match=r"none\.yaml: no such file"):
        load_policy(tmp_path / "none.yaml")
    with pytest.raises(Refused, match="cannot be read: Is a directory"):
        load_policy(tmp_path)
    with pytest.raises(Refused, match=r'file\.yaml:2: kind: "JobQueue" is not SprintPolicy'):
        load_policy(written(tmp_path, queue_text(job())))


def test_anchors_merge_keys_and_overrides_work(tmp_path: Path) -> None:
    text = (
        "apiVersion: kubesprint.dev/v1alpha1\nkind: JobQueue\nslots: 1\njobs:\n"
        '- &a {name: a, kind: loop, command: ["true"]}\n- {<<: *a, name: b}\n'
    )
    queue = load_queue(written(tmp_path, text)).value
    assert [(j.name, j.kind) for j in queue.jobs] == [("a", "loop"), ("b", "loop")]


def test_a_problem_is_placed_at_the_nearest_thing_that_is_there(tmp_path: Path) -> None:
    (document,) = read_documents(written(tmp_path, "a: 1\nb:\n  c: 2\n"))
    assert document.say(Problem(("b", "d", 3), "missing")) == f"{document.file}:2: b.d[3]: missing"
    assert document.say(Problem(("b", "c"), "odd")).startswith(f"{document.file}:3: b.c: ")
    assert document.say(Problem((), "odd")) == f"{document.file}:1: odd"


def test_all_documents_of_a_file_are_checked(tmp_path: Path) -> None:
    def parser(data: Mapping[str, object]) -> tuple[object, list[Problem]]:
        if "bad" in data:
            raise Invalid([Problem(("bad",), "bad")])
        return data, [Problem(("good",), "fine")]

    file = written(tmp_path, "bad: 1\n---\ngood: 1\n---\nbad: 1\n")
    with pytest.raises(Refused) as caught:
        parse_documents(read_documents(file), parser)
    assert str(caught.value).splitlines() == [f"{file}:1: bad: bad", f"{file}:5: bad: bad"]
    _, warnings = parse_documents(read_documents(written(tmp_path, "good: 1\n")), parser)
    assert warnings == [f"{file}:1: good: fine"]


def test_two_policies_or_two_profiles_of_one_workload_in_a_file_are_refused(tmp_path: Path) -> None:
    with pytest.raises(Refused, match=r"file\.yaml:7: a second document; write one JobQueue a file"):
        load_queue(written(tmp_path, f"{queue_text(job())}---\n{queue_text(job())}"))
    with pytest.raises(Refused, match=r'file\.yaml:7: spec\.workload: "forest" has a profile above'):
        load_profiles(written(tmp_path, f"{profile_text('')}---\n{profile_text('')}"))


def test_relative_paths_count_from_the_folder_of_the_file(tmp_path: Path) -> None:
    inner = tmp_path / "queues" / "work"
    inner.mkdir(parents=True)
    script = inner / "go.sh"
    script.write_text("#!/bin/sh\n")
    file = tmp_path / "queues" / "queue.yaml"
    file.write_text(queue_text(job(rest="workdir: work", command="[./go.sh]")))
    with pytest.raises(Refused, match=r'"\./go\.sh" is not executable; chmod \+x it'):
        load_queue(file)
    script.chmod(script.stat().st_mode | stat.S_IXUSR)
    (placed,) = load_queue(file).value.jobs
    assert placed.workdir == str(inner)
    assert placed.command == ("./go.sh",)


def test_a_command_is_looked_for_on_the_path_that_the_job_will_have(tmp_path: Path) -> None:
    tool = tmp_path / "bin" / "tool"
    tool.parent.mkdir()
    tool.write_text("#!/bin/sh\n")
    tool.chmod(0o755)
    bare = JobSpec(name="a", kind="k", command=("tool",))
    with pytest.raises(Invalid, match='job "a": command "tool" not found on PATH'):
        place_job(bare, tmp_path, {"PATH": "/usr/bin"})
    assert place_job(bare, tmp_path, {"PATH": f"/usr/bin:{tool.parent}"}).workdir == str(tmp_path)
    own = JobSpec(name="a", kind="k", command=("tool",), env={"PATH": "bin"})
    assert place_job(own, tmp_path, {"PATH": "/usr/bin"}).command == ("tool",)


def test_profiles_are_written_whole_and_read_back(tmp_path: Path) -> None:
    file = tmp_path / "profiles.yaml"
    point = ProfilePoint(cores=Cores(0.4), runs=3, wall=Seconds(301.0), cpu_time=Seconds(120.25))
    profiles = (ProfileSpec(workload="a", points=(point,)), ProfileSpec(workload="b"))
    write_profiles(file, profiles)
    assert load_profiles(file).value == profiles
    write_profiles(file, profiles[:1])
    assert load_profiles(file).value == profiles[:1]
    assert [each.name for each in tmp_path.iterdir()] == ["profiles.yaml"]


def test_a_failed_write_leaves_the_old_file(tmp_path: Path) -> None:
    with pytest.raises(Refused, match=r"none/p\.yaml: cannot be written: No such file or directory"):
        write_documents(tmp_path / "none" / "p.yaml", [{}])
    target = tmp_path / "folder.yaml"
    target.mkdir()
    (target / "kept").touch()
    with pytest.raises(Refused, match="cannot be written: Is a directory"):
        write_documents(target, [{}])
    assert [each.name for each in tmp_path.iterdir()] == ["folder.yaml"]
