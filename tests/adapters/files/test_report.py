"""The report opens without a network, shows every job, and lets no name out of its cage."""

import math
import re
import time
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path

import pytest

from kubesprint.adapters.files.report import MOST_JOBS, render_comparison, render_report, write_report
from kubesprint.adapters.files.results import EVENTS, JOBS, EventLog, JobTable
from kubesprint.adapters.files.story import read_story
from kubesprint.core.errors import Corrupt, Refused
from kubesprint.core.units import Seconds
from run_folders import RunFolder, a_record, a_run_event

VOID = {"meta", "br", "hr", "img", "input", "link"}


class Page(HTMLParser):
    """A page taken apart; complains about a tag that is closed out of turn."""

    def __init__(self, text: str) -> None:
        super().__init__(convert_charrefs=True)
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.words: dict[str, list[str]] = {}
        self.open: list[str] = []
        self.feed(text)
        self.close()
        assert self.open == []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        if self.open and data.strip():
            self.words.setdefault(self.open[-1], []).append(data.strip())

    def of_class(self, name: str) -> list[dict[str, str | None]]:
        return [attrs for _, attrs in self.tags if name in (attrs.get("class") or "").split()]

    def bars(self, kind: str) -> int:
        """Bars of the timelines; the samples of the legend are not counted."""
        return len([a for t, a in self.tags if t == "rect" and a.get("class") == kind and a.get("x") != "0"])


def a_run(folder: Path, *, count: int = 12, **options: object) -> RunFolder:
    return RunFolder(folder).queue(count, **options)  # type: ignore[arg-type]


def test_a_page_holds_everything_it_needs(tmp_path: Path) -> None:
    text = render_report(a_run(tmp_path / "run", failing=(3,), deadlines=True).write())
    page = Page(text)
    outside = [
        (tag, attrs)
        for tag, attrs in page.tags
        if {"src", "href", "srcset", "action", "data"} & attrs.keys()
        or tag in ("link", "iframe", "img", "base")
    ]
    assert outside == []
    assert "url(" not in text
    assert "@import" not in text
    assert re.sub(r'xmlns="[^"]*"|"http://www\.w3\.org/2000/svg"', "", text).count("http") == 0


def test_every_job_has_its_row_its_bar_and_its_sentences(tmp_path: Path) -> None:
    run = a_run(tmp_path / "run", failing=(3,))
    page = Page(render_report(run.write()))
    names = [record.name for record in run.records]
    assert [attrs["title"] for attrs in (a for t, a in page.tags if t == "td" and "title" in a)] == names
    assert page.words["summary"] == names
    assert [word for word in page.words["text"] if word in names] == names
    assert page.bars("base") == len(names)
    waited = [record for record in run.records if record.start and record.start > record.arrival]
    assert page.bars("wait") == len(waited) > 0


def test_every_sprint_is_highlighted_where_it_happened(tmp_path: Path) -> None:
    run = a_run(tmp_path / "run")
    page = Page(render_report(run.write()))
    assert page.bars("sprint") == sum(1 for record in run.records if record.sprint) > 3


def test_every_decision_is_told(tmp_path: Path) -> None:
    run = a_run(tmp_path / "run")
    page = Page(render_report(run.write()))
    told = " ".join(page.words["span"])
    for _, type_, fields in run.events:
        if type_ == "decision":
            assert str(fields["sentence"]) in told


def test_failed_jobs_and_deadlines_are_marked(tmp_path: Path) -> None:
    run = a_run(tmp_path / "run", failing=(1, 4), deadlines=True)
    page = Page(render_report(run.write()))
    crosses = [a for t, a in page.tags if t == "line" and a.get("class") == "cross"]
    assert len(crosses) == 2 * 2
    drawn = [a for t, a in page.tags if t == "path" and "deadline" in (a.get("class") or "").split()]
    last = max(at for at, _, _ in run.events) * 1.01
    due = [at for at, type_, fields in run.events if "deadline_seconds" in fields and at + 14.0 <= last]
    assert len(drawn) == len(due) + 1  # and one in the legend
    assert len(due) > 2
    assert "exit 1" in page.words["td"]


def test_a_job_whose_outcome_nobody_knows_is_told_apart(tmp_path: Path) -> None:
    run = a_run(tmp_path / "run", count=3)
    run.records[1] = replace(run.records[1], exit=None)
    name = run.records[1].name
    finished = next(f for _, type_, f in run.events if type_ == "finished" and f["job"] == name)
    finished["exit"] = None
    text = render_report(run.write())
    page = Page(text)
    assert page.words["td"].count("finished") == 2
    assert "unknown" in page.words["td"]
    assert "1 unknown" in text
    assert "outcome unknown" in text
    assert not [a for t, a in page.tags if t == "line" and a.get("class") == "cross"]


def test_a_missed_deadline_is_told_in_words_and_colour(tmp_path: Path) -> None:
    run = a_run(tmp_path / "run", count=1)
    run.events = [
        (at, type_, {**fields, "deadline_seconds": 0.5} if type_ == "arrived" else fields)
        for at, type_, fields in run.events
    ]
    page = Page(render_report(run.write()))
    assert page.of_class("missed")
    assert "late" in page.words["span"]


@pytest.mark.parametrize(
    "name",
    ["<script>alert(1)</script>", '"><img src=x onerror=alert(1)>', "a&b", "</title></svg>", "{{ 7*7 }}"],
)
def test_a_hostile_name_stays_text(tmp_path: Path, name: str) -> None:
    folder = tmp_path / "run"
    folder.mkdir()
    with EventLog(folder / EVENTS) as log:
        log.append(0.0, "run", **a_run_event(run=name, setting=name, strategy=name))
        log.append(0.0, "trigger", after_seconds=1.0, curve=[[0, 1], [1, 2]], sentence=name)
        log.append(1.0, "arrived", job=name, kind=name)
        log.append(1.5, "warning", text=name)
        log.append(2.0, "started", job=name, slot=name, predicted_response_seconds=5.0)
        log.append(2.0, "decision", job=name, verb="Hold", reason=name, sentence=name, inputs={name: name})
        log.append(3.0, "sprint_started", job=name, grant=name, slot=name)
        log.append(4.0, "sprint_ended", job=name, grant=name, seconds=1.0, core_seconds=0.6, reason=name)
        log.append(6.0, "finished", job=name, exit=0, response_seconds=5.0, cpu_seconds=2.0)
    with JobTable(folder / JOBS) as table:
        table.append(a_record(name=name, kind=name, run=name, setting=name))
    page = Page(render_report(folder))
    assert [tag for tag, _ in page.tags if tag in ("script", "img")] == ["script"]  # our own
    assert [attrs for _, attrs in page.tags if any(key.startswith("on") for key in attrs)] == []
    assert name in page.words["td"]
    compared = Page(render_comparison([folder, folder]))
    assert [tag for tag, _ in compared.tags if tag in ("script", "img")] == ["script"]


def test_charts_are_named_for_those_who_do_not_see_them(tmp_path: Path) -> None:
    page = Page(render_report(a_run(tmp_path / "run").write()))
    charts = page.of_class("chart")
    assert len(charts) == 4  # jobs, budget, predictions, timeout
    assert all(attrs.get("role") == "img" and attrs.get("aria-label") for attrs in charts)
    assert len(page.words["desc"]) == 4


def test_timeline_and_budget_share_one_time_axis(tmp_path: Path) -> None:
    text = render_report(a_run(tmp_path / "run").write())
    wide = re.findall(r'<svg[^>]*class="chart wide[^"]*".*?</svg>', text, re.DOTALL)
    axes = [re.findall(r'<line x1="([\d.]+)"[^>]*x2="([\d.]+)"[^>]*class="axis"', chart) for chart in wide]
    assert len(wide) == 2
    assert axes[0] == axes[1] != []


def test_a_run_that_was_killed_still_has_a_report(tmp_path: Path) -> None:
    run = a_run(tmp_path / "run")
    folder = run.write(summary=False)
    lines = (folder / EVENTS).read_bytes().splitlines(keepends=True)
    begun = next(i for i, line in enumerate(lines) if b"sprint_started" in line)
    (folder / EVENTS).write_bytes(b"".join(lines[: begun + 1]) + lines[begun + 1][:9])
    (folder / JOBS).unlink()
    page = Page(render_report(folder))
    assert any("no summary" in word for word in page.words["p"])
    assert page.bars("sprint") == 1
    assert "running" in page.words["td"]


def test_a_resumed_run_ends_the_sprints_that_died_with_it(tmp_path: Path) -> None:
    folder = tmp_path / "run"
    folder.mkdir()
    with EventLog(folder / EVENTS) as log:
        log.append(0.0, "run", **a_run_event())
        log.append(1.0, "arrived", job="a", kind="k")
        log.append(1.0, "started", job="a", slot="s")
        log.append(2.0, "sprint_started", job="a", grant="g", slot="s")
        log.append(9.0, "run", **a_run_event())
        log.append(9.5, "started", job="a", slot="s")
    story = read_story(folder)
    assert story.resumed == [9.0]
    assert story.jobs["a"].sprints[0].end == 9.0
    assert story.jobs["a"].start == 9.5


def test_damage_in_the_middle_is_named_and_not_drawn(tmp_path: Path) -> None:
    folder = a_run(tmp_path / "run").write()
    lines = (folder / EVENTS).read_text().splitlines()
    lines[3] = lines[3][:10]
    (folder / EVENTS).write_text("\n".join(lines) + "\n")
    with pytest.raises(Corrupt, match=r"events\.jsonl, line 4"):
        render_report(folder)


def test_an_empty_folder_is_no_run(tmp_path: Path) -> None:
    with pytest.raises(Refused, match="not a run folder"):
        render_report(tmp_path)


def test_a_run_without_any_job_has_a_report(tmp_path: Path) -> None:
    with EventLog(tmp_path / EVENTS) as log:
        log.append(0.0, "run", **a_run_event())
        log.append(0.1, "something_new", field=1)
    assert "None was written" in render_report(tmp_path)


def test_a_run_that_only_observes_does_not_speak_of_a_base(tmp_path: Path) -> None:
    run = a_run(tmp_path / "run", count=3)
    run.events[0][2].update(mode="Observe", mechanism=None)
    page = Page(render_report(run.write()))
    assert "none: mode Observe changes nothing" in page.words["dd"]
    assert "running at base" not in page.words["li"]
    assert "running" in page.words["li"]


def test_events_may_be_written_out_of_order(tmp_path: Path) -> None:
    with EventLog(tmp_path / EVENTS) as log:
        log.append(0.0, "run", **a_run_event())
        log.append(2.0, "budget", level_core_seconds=3.0)
        log.append(2.0, "decision", job="a", verb="Hold", reason="Never", sentence="Held.", inputs={})
        log.append(1.0, "budget", level_core_seconds=5.0)
        log.append(1.0, "arrived", job="a", kind="k")
    story = read_story(tmp_path)
    assert [at for at, *_ in story.budget] == [1.0, 2.0]
    assert (story.jobs["a"].arrival, story.jobs["a"].kind, len(story.jobs["a"].notes)) == (1.0, "k", 1)


def test_a_large_run_stays_quick_small_and_says_what_it_left_out(tmp_path: Path) -> None:
    run = a_run(tmp_path / "run", count=2000, slots=4)
    folder = run.write()
    began = time.process_time()
    target = write_report(folder)
    assert time.process_time() - began < 10  # half a second, with room for a busy machine
    assert target.stat().st_size < 5_000_000
    page = Page(target.read_text())
    assert page.bars("base") == 2000  # one bar each, in a row a slot
    assert [word for word in page.words["text"] if word.startswith("slot-")] == [
        f"slot-{n}" for n in range(4)
    ]
    assert sum(1 for t, a in page.tags if t == "td" and "title" in a) == MOST_JOBS
    soft = " ".join(page.words["p"])
    assert "The first 500 of 2000 jobs" in soft
    assert "evenly picked" in soft


def test_a_comparison_shows_every_run_in_order_with_what_was_measured(tmp_path: Path) -> None:
    timeouts = {"never": math.inf, "always": 0.0, "model-driven": 6.0}
    folders = [
        RunFolder(tmp_path / name, run=name, setting=name, timeout=timeout).queue(15).write()
        for name, timeout in timeouts.items()
    ]
    page = Page(render_comparison(folders, title="Three ways"))
    assert page.words["h3"] == list(timeouts)
    assert [word for word in page.words["td"] if word in timeouts] == list(timeouts)
    assert (
        len([a for a in page.of_class("chart") if "wide" in str(a["class"]).split()]) == 2 * 3 - 1
    )  # never: no budget
    assert page.words["h1"] == ["Three ways"]
    assert not page.of_class("warn")
    assert "1.00×" in page.words["td"]


def test_a_comparison_of_different_queues_warns(tmp_path: Path) -> None:
    one = RunFolder(tmp_path / "a", setting="a").queue(5).write()
    other = RunFolder(tmp_path / "b", setting="b").queue(6).write()
    assert any(
        "did not have the same jobs" in word for word in Page(render_comparison([one, other])).words["p"]
    )


def test_a_comparison_tells_facts_once_and_differences_apart(tmp_path: Path) -> None:
    one = RunFolder(tmp_path / "a", setting="a").queue(3)
    other = RunFolder(tmp_path / "b", setting="b").queue(3)
    other.events[0][2]["mechanism"] = "affinity"
    facts = Page(render_comparison([one.write(), other.write()])).words["dd"]
    assert facts.count("finished") == 1
    assert "quota: 0.4 cores to 1 cores; affinity: 0.4 cores to 1 cores" in facts


def test_two_runs_of_one_setting_are_told_apart(tmp_path: Path) -> None:
    one = RunFolder(tmp_path / "a", run="first", setting="never").queue(4).write()
    other = RunFolder(tmp_path / "b", run="second", setting="never").queue(4).write()
    assert Page(render_comparison([one, other])).words["h3"] == ["never (first)", "never (second)"]


def test_a_row_of_the_table_adds_up(tmp_path: Path) -> None:
    run = a_run(tmp_path / "run", count=1)
    run.records = [
        a_record(name=run.records[0].name, arrival=Seconds(1.0), start=Seconds(3.0), end=Seconds(11.0)),
    ]
    page = Page(render_report(run.write()))
    cells = page.words["td"]
    place = cells.index(run.records[0].name)
    assert cells[place + 2 : place + 8] == ["1.00", "2.00", "8.00", "10.0", "4.50", "-55 %"]
