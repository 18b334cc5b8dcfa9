"""Probably mislabelled images: flipped labels are named, classes of few images are left alone."""

import numpy as np
import pytest

from fashion_transfer.evaluation import label_issues, principal_components


def clusters(*sizes: int, distance: float = 4.0, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Features of classes that lie apart, float32, (N, 30), and their labels."""
    generator = np.random.default_rng(seed)
    labels = np.repeat(np.arange(len(sizes)), sizes)
    centres = distance * generator.normal(size=(len(sizes), 30))
    return (centres[labels] + generator.normal(size=(len(labels), 30))).astype(np.float32), labels


def flip(labels: np.ndarray, positions: list[int]) -> np.ndarray:
    flipped = labels.copy()
    flipped[positions] = (labels[positions] + 1) % (labels.max() + 1)
    return flipped


def positions(components: np.ndarray, labels: np.ndarray) -> list[int]:
    return sorted(issue.position for issue in label_issues(components, labels))


def test_flipped_labels_are_named_with_the_better_one():
    features, labels = clusters(40, 30, 50)
    wrong = [3, 44, 45, 100]
    issues = label_issues(principal_components(features), flip(labels, wrong))
    assert sorted(issue.position for issue in issues) == wrong
    assert all(issue.suggested == labels[issue.position] for issue in issues)
    assert all(0.5 < issue.probability <= 1 for issue in issues)


def test_no_issue_where_the_labels_are_correct():
    features, labels = clusters(40, 30, 50)
    assert label_issues(principal_components(features), labels) == []


@pytest.mark.parametrize("sizes", [(10, 10), (6, 14), (12, 12, 12)])
def test_few_images_are_enough_to_name_a_wrong_label(sizes):
    features, labels = clusters(*sizes)
    assert positions(principal_components(features), flip(labels, [2])) == [2]


def test_clearest_issues_come_first():
    features, labels = clusters(40, 40, distance=1)
    between = (features[0] + features[50]) / 2
    features = np.concatenate([features, [between + (features[50] - between) / 4]])
    given = np.append(flip(labels, [7]), 0)
    named = [issue.position for issue in label_issues(principal_components(features), given)]
    assert named[0] == 7


def test_class_with_few_images_is_neither_named_nor_suggested():
    features, labels = clusters(30, 30, 4)
    given = flip(labels, [5])
    issues = label_issues(principal_components(features), given)
    assert [(issue.position, issue.suggested) for issue in issues] == [(5, 0)]


def test_labels_without_images_between_others_keep_their_numbers():
    features, labels = clusters(20, 0, 20)
    given = labels.copy()
    given[1] = 2
    [issue] = label_issues(principal_components(features), given)
    assert (issue.position, issue.suggested) == (1, 0)


@pytest.mark.parametrize("sizes", [(20,), (20, 4), (4, 4, 4), (1, 1)])
def test_fewer_than_two_classes_to_compare_give_no_issue(sizes):
    features, labels = clusters(*sizes)
    assert label_issues(principal_components(features), labels) == []


def test_issues_are_the_same_each_time():
    features, labels = clusters(40, 40, 40, distance=1)
    given = flip(labels, [1, 50])
    first, second = (label_issues(principal_components(features), given) for _ in range(2))
    assert first == second != []


@pytest.mark.parametrize(("shape", "count"), [((300, 200), 128), ((20, 200), 20), ((50, 8), 8)])
def test_components_are_as_many_as_there_can_be(shape, count):
    features = np.random.default_rng(0).normal(size=shape).astype(np.float32)
    components = principal_components(features)
    assert components.shape == (shape[0], count)
    assert components.dtype == np.float32
    assert components[:, 0].std() == pytest.approx(1, abs=1e-4)


def test_components_do_not_depend_on_the_scale_of_a_feature_and_leave_features_as_they_are():
    features, _ = clusters(30, 30)
    scaled = features * np.where(np.arange(30) % 2, 100, 0.01).astype(np.float32)
    before = features.copy()
    first, second = principal_components(features)[:, 0], principal_components(scaled)[:, 0]
    assert np.abs(first) == pytest.approx(np.abs(second), abs=1e-2)
    assert np.array_equal(features, before)
