"""The data of the model shelf: each model once, in its section; what is out of date is dropped."""

from __future__ import annotations

from dataclasses import replace

import pytest

from app.mailbox import Mailbox
from app.notices import DownloadFrame
from app.shelf import LookFrame, SearchFrame, Shelf, ShelfFrame, ShelfItem, ShelfQuery
from engine.checkpoint.fits import Device

CPU = Device("cpu", "the CPU", 8_000, 16_000)
HERE = ShelfItem("demo", "computer", "Demo", 100, "built in")
LISTED = ShelfItem("small", "catalog", "Small", 200)
FOUND = ShelfItem("org/found", "hub", "org/found")


def frame(query: ShelfQuery, *items: ShelfItem, **more) -> ShelfFrame:
    return ShelfFrame(query, items, more.pop("begun", ()), 50_000, CPU, **more)


@pytest.fixture
def shelf() -> Shelf:
    made = Shelf()
    assert made.absorb(frame(made.query, HERE, LISTED))
    return made


def sources(shelf: Shelf) -> dict[str, list[str]]:
    return {section: [item.source for item in items] for section, items in shelf.sections().items() if items}


def test_every_model_stands_in_its_section(shelf: Shelf) -> None:
    assert sources(shelf) == {"computer": ["demo"], "catalog": ["small"]}
    assert (shelf.disk_free, shelf.device, shelf.complete) == (50_000, CPU, True)


def test_other_frames_are_none_of_its_business(shelf: Shelf) -> None:
    assert not shelf.absorb(object())


def test_a_download_moves_its_model_and_leaves_when_it_is_over(shelf: Shelf) -> None:
    for state in ("waiting", "running", "paused", "failed"):
        shelf.absorb(DownloadFrame("small", state, done=5, total=10))
        assert sources(shelf) == {"downloads": ["small"], "computer": ["demo"]}
        assert shelf.downloads["small"].state == state
    for state in ("done", "cancelled"):
        shelf.absorb(DownloadFrame("small", state))
        assert sources(shelf) == {"computer": ["demo"], "catalog": ["small"]}


def test_a_download_that_no_list_has_is_listed(shelf: Shelf) -> None:
    shelf.absorb(DownloadFrame("org/other", "running", total=77))
    assert sources(shelf)["downloads"] == ["org/other"]
    assert shelf.item("org/other").size == 77
    shelf.absorb(DownloadFrame("org/other", "done"))
    assert shelf.item("org/other") is None


def test_downloads_of_an_earlier_day_are_there_and_do_not_hide_what_goes_on_now(shelf: Shelf) -> None:
    shelf.absorb(DownloadFrame("small", "running", done=9, total=10))
    begun = (DownloadFrame("small", "paused", done=5), DownloadFrame("org/old", "paused", done=1, total=4))
    shelf.absorb(frame(shelf.query, HERE, LISTED, begun=begun))
    assert shelf.downloads["small"].done == 9
    assert sources(shelf)["downloads"] == ["small", "org/old"]


def test_a_shelf_for_another_question_is_dropped(shelf: Shelf) -> None:
    before = shelf.query
    shelf.query = replace(before, context=1)
    shelf.absorb(frame(before))
    assert shelf.items == (HERE, LISTED)


def test_results_are_those_of_the_newest_search(shelf: Shelf) -> None:
    shelf.searched, shelf.searching = "new", True
    shelf.absorb(SearchFrame("old", (FOUND,)))
    assert shelf.results == ()
    assert shelf.searching
    shelf.absorb(SearchFrame("new", (FOUND,)))
    assert sources(shelf)["hub"] == ["org/found"]
    assert not shelf.searching
    shelf.searched = "nothing"
    shelf.absorb(SearchFrame("nothing", sentence="The hub lists no model."))
    assert (shelf.results, shelf.sentence) == ((), "The hub lists no model.")


def test_a_result_that_is_here_is_listed_once(shelf: Shelf) -> None:
    shelf.absorb(SearchFrame("", (replace(FOUND, source="small"), FOUND)))
    assert sources(shelf) == {"computer": ["demo"], "catalog": ["small"], "hub": ["org/found"]}


def test_a_result_that_was_downloaded_stands_with_this_computers(shelf: Shelf) -> None:
    shelf.absorb(SearchFrame("", (FOUND,)))
    arrived = ShelfItem("/cache/found", "computer", "org/found", 9, "Fluoroscope")
    shelf.absorb(frame(shelf.query, HERE, LISTED, arrived))
    assert sources(shelf) == {"computer": ["demo", "/cache/found"], "catalog": ["small"]}


def test_a_closer_look_keeps_what_the_list_said(shelf: Shelf) -> None:
    shelf.absorb(SearchFrame("", (replace(FOUND, licence="MIT"),)))
    shelf.absorb(LookFrame(replace(FOUND, size=9, complaint="no")))
    assert shelf.item("org/found") == replace(FOUND, licence="MIT", size=9, complaint="no")


def test_the_mailbox_keeps_the_newest_of_each_download_and_of_the_shelf() -> None:
    box = Mailbox()
    for done in range(3):
        box.post(DownloadFrame("a", "running", done=done))
        box.post(DownloadFrame("b", "running", done=done))
        box.post(frame(ShelfQuery(), complete=done == 2))
    found = box.drain()
    assert [(f.source, f.done) for f in found if isinstance(f, DownloadFrame)] == [("a", 2), ("b", 2)]
    assert [f.complete for f in found if isinstance(f, ShelfFrame)] == [True]


def test_a_download_of_an_earlier_day_that_is_over_by_now_is_not_listed_any_more(shelf: Shelf) -> None:
    begun = (DownloadFrame("org/old", "paused", done=1, total=4),)
    shelf.absorb(frame(shelf.query, HERE, LISTED, begun=begun))
    shelf.absorb(frame(shelf.query, HERE, LISTED))
    assert shelf.downloads == {}


def test_what_was_seen_before_a_download_ended_does_not_bring_it_back_for_good(shelf: Shelf) -> None:
    shelf.absorb(DownloadFrame("small", "running"))
    shelf.absorb(DownloadFrame("small", "done"))
    shelf.absorb(frame(shelf.query, HERE, LISTED, begun=(DownloadFrame("small", "paused"),)))  # was on its way
    shelf.absorb(frame(shelf.query, HERE, replace(LISTED, section="computer", origin="Fluoroscope")))
    assert shelf.downloads == {}


def test_what_this_program_paused_stays_until_the_model_is_here(shelf: Shelf) -> None:
    shelf.absorb(DownloadFrame("small", "paused", done=5, total=10))
    shelf.absorb(frame(shelf.query, HERE, LISTED))
    assert shelf.downloads["small"].done == 5
    shelf.absorb(frame(shelf.query, HERE, replace(LISTED, section="computer", origin="Fluoroscope")))
    assert shelf.downloads == {}


def test_a_result_that_the_catalog_has_is_listed_once(shelf: Shelf) -> None:
    shelf.absorb(frame(shelf.query, HERE, replace(LISTED, hub="org/found")))
    shelf.absorb(SearchFrame("", (FOUND,)))
    assert sources(shelf) == {"computer": ["demo"], "catalog": ["small"]}


def test_a_download_that_no_list_has_is_looked_at_like_the_others(shelf: Shelf) -> None:
    shelf.absorb(DownloadFrame("org/other:Q4_1", "failed", total=77))
    shelf.absorb(LookFrame(ShelfItem("org/other:Q4_1", "hub", "org/other:Q4_1", 70, complaint="no")))
    assert shelf.item("org/other:Q4_1").complaint == "no"
    shelf.absorb(DownloadFrame("org/other:Q4_1", "running", total=77))
    assert shelf.item("org/other:Q4_1").complaint == ""  # asked anew
