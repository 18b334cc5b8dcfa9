"""Input that is prepared in a thread: the same images, in the order that is asked for."""

import threading

import numpy as np
import pytest
import torch

from fashion_transfer.features.prefetch import Part, Prefetcher

CPU = torch.device("cpu")


class Source:
    """Images that are their own rows; notes which rows were drawn, and in which thread."""

    def __init__(self):
        self.drawn: list[tuple[list[int], bool]] = []

    def __call__(self, rows, device):
        main = threading.current_thread() is threading.main_thread()
        self.drawn.append((rows.tolist(), main))
        return torch.tensor(rows, device=device).float()

    def part(self, *rows) -> Part:
        return Part(self, np.array(rows))


def test_what_follows_is_prepared_once_in_another_thread():
    source = Source()
    with Prefetcher(CPU) as prefetcher:
        first = prefetcher.images(source.part(0, 1), source.part(2))
        second = prefetcher.images(source.part(2))
    assert first.tolist() == [0, 1]
    assert second.tolist() == [2]
    assert source.drawn == [([0, 1], True), ([2], False)]


@pytest.mark.parametrize("other", ["rows", "source"])
def test_what_was_not_expected_is_drawn_when_it_is_asked_for(other):
    source, another = Source(), Source()
    asked = source.part(3) if other == "rows" else another.part(2)
    with Prefetcher(CPU) as prefetcher:
        prefetcher.images(source.part(0), source.part(2))
        assert prefetcher.images(asked).tolist() == asked.rows.tolist()
    drawn = source.drawn if other == "rows" else another.drawn
    assert (asked.rows.tolist(), True) in drawn


def test_an_error_is_raised_where_the_images_are_asked_for():
    def broken(rows, device):
        raise OSError("no such photo")

    with Prefetcher(CPU) as prefetcher:
        prefetcher.images(Source().part(0), Part(broken, np.array([1])))
        with pytest.raises(OSError, match="no such photo"):
            prefetcher.images(Part(broken, np.array([1])))


def test_the_thread_ends_with_the_context_and_leaves_the_processors_to_others():
    before = threading.active_count(), torch.get_num_threads()
    with Prefetcher(CPU) as prefetcher:
        prefetcher.images(Source().part(0), Source().part(1))
    assert (threading.active_count(), torch.get_num_threads()) == before
