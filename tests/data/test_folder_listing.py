"""Photos in folders and in CSV files: which there are, and what is wrong with a layout."""

import re
from unicodedata import normalize

import pytest

from fashion_transfer.data.folder_listing import list_photos
from fashion_transfer.errors import FashionTransferError


def touch(folder, *names):
    for name in names:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).touch()
    return folder


def listed(source):
    """Path, label and split of each photo."""
    folder = source if source.is_dir() else source.parent
    photos = list_photos(source).photos
    return [(str(p.path.relative_to(folder)), p.label, p.split) for p in photos]


def rejected(source, message):
    with pytest.raises(FashionTransferError, match=re.escape(message)) as caught:
        list_photos(source)
    assert "\n" not in str(caught.value)
    assert ": " in str(caught.value)


# ---- folders


@pytest.mark.parametrize("validation", ["validation", "val", "valid", "Val"])
def test_folder_gives_its_splits(tmp_path, validation):
    touch(
        tmp_path, "train/dog/1.png", "train/cat/1.png", "train/cat/2.JPG",
        f"{validation}/cat/1.png", "test/dog/1.webp",
    )  # fmt: skip
    assert list_photos(tmp_path).class_names == ("cat", "dog")
    assert listed(tmp_path) == [
        ("train/cat/1.png", "cat", "train"),
        ("train/cat/2.JPG", "cat", "train"),
        ("train/dog/1.png", "dog", "train"),
        *sorted([
            (f"{validation}/cat/1.png", "cat", "val"),
            ("test/dog/1.webp", "dog", "test"),
        ]),
    ]  # fmt: skip


def test_folder_without_splits_leaves_them_open(tmp_path):
    touch(tmp_path, "dog/1.png", "cat/1.png", "cat/deep/er/2.png")
    assert listed(tmp_path) == [
        ("cat/1.png", "cat", None),
        ("cat/deep/er/2.png", "cat", None),
        ("dog/1.png", "dog", None),
    ]


def test_only_visible_image_files_are_photos(tmp_path):
    touch(
        tmp_path, "cat/1.png", "dog/1.png", "dog/notes.txt", "dog/.hidden.png", "dog/Thumbs.db",
        "dog/.DS_Store", "dog/__MACOSX/2.png", "__MACOSX/dog/1.png", ".git/1.png", "dog/.x/3.png",
    )  # fmt: skip
    assert list_photos(tmp_path).class_names == ("cat", "dog")
    assert [name for name, *_ in listed(tmp_path)] == ["cat/1.png", "dog/1.png"]


def test_names_of_any_script_are_composed(tmp_path):
    touch(tmp_path, f"{normalize('NFD', 'Hüte, große')}/a b,c.png", "täglich/ü.png")
    assert list_photos(tmp_path).class_names == ("Hüte, große", "täglich")
    assert {label for _, label, _ in listed(tmp_path)} == {"Hüte, große", "täglich"}


@pytest.mark.parametrize("name", ["caf\udce9", "two\nlines", "a\ttab"])
def test_class_whose_name_cannot_be_printed_is_rejected(tmp_path, name):
    try:
        touch(tmp_path, f"{name}/1.png", "b/1.png")
    except (OSError, UnicodeError):
        pytest.skip("no file name here")
    rejected(tmp_path, f"{tmp_path} has a class named {name!a}: rename it, in UTF-8")


def test_class_may_be_a_link_to_a_folder(tmp_path):
    touch(tmp_path, "else/1.png", "photos/dog/1.png")
    (tmp_path / "photos" / "cat").symlink_to(tmp_path / "else")
    assert [label for _, label, _ in listed(tmp_path / "photos")] == ["cat", "dog"]


def test_photos_in_no_class_folder_are_counted(tmp_path, caplog):
    touch(tmp_path, "cat/1.png", "dog/1.png", "1.png", "2.png")
    assert len(listed(tmp_path)) == 2
    assert f"photos in {tmp_path}, in no class folder: 2, ignored" in caplog.text


def test_folder_beside_the_splits_is_named(tmp_path, caplog):
    touch(tmp_path, "train/cat/1.png", "train/dog/1.png", "extra/1.png")
    assert len(listed(tmp_path)) == 2
    assert f"extra beside train in {tmp_path}: ignored" in caplog.text


def test_validation_may_lack_photos_of_a_class(tmp_path):
    touch(tmp_path, "train/cat/1.png", "train/dog/1.png", "val/dog/1.png", "val/cat/notes.txt")
    assert len(listed(tmp_path)) == 3


def test_train_may_be_a_class(tmp_path):
    touch(tmp_path, "train/1.png", "bus/1.png", "car/1.png")
    assert [label for _, label, _ in listed(tmp_path)] == ["bus", "car", "train"]


def test_missing_folder_is_rejected(tmp_path):
    rejected(tmp_path / "none", "none: no such folder: name the folder of your photos")


def test_file_that_is_no_csv_is_rejected(tmp_path):
    rejected(touch(tmp_path, "a.zip") / "a.zip", "a.zip: neither a folder nor a .csv file")


@pytest.mark.parametrize(
    ("names", "message"),
    [
        (["1.png"], "holds no class folder: put the photos of each class into a folder"),
        (["train/1.png"], "train holds no class folder"),
        (["cat/1.png"], "has only one class, cat: add photos of another class"),
        (["cat/1.png", "dog/a.txt"], "dog holds no photo: add photos of this class, or remove"),
        (["train/cat/1.png", "train/dog/a.txt"], "train/dog holds no photo"),
        (
            ["train/cat/1.png", "train/dog/1.png", "val/hat/1.png"],
            "val/hat is a class that {0}/train lacks: add training photos of it, or remove",
        ),
        (["cat/1.png", "test/cat/1.png"], "holds test but no train: add a folder train"),
        (
            ["train/cat/1.png", "val/cat/1.png", "valid/cat/1.png"],
            "holds both val and valid: put their photos into one of them",
        ),
    ],
)
def test_folder_of_another_layout_is_rejected(tmp_path, names, message):
    rejected(touch(tmp_path, *names), message.format(tmp_path))


def test_folder_that_cannot_be_listed_is_rejected(tmp_path, monkeypatch):
    def denied(path):
        raise PermissionError(13, "Permission denied", str(path))

    monkeypatch.setattr(type(tmp_path), "iterdir", denied)
    rejected(tmp_path, f"{tmp_path}: cannot be read (Permission denied)")


# ---- CSV files


def table(folder, text, encoding="utf-8"):
    touch(folder, "a.png", "ü b/c.png", "d.png")
    file = folder / "photos.csv"
    file.write_bytes(text.encode(encoding))
    return file


def test_csv_gives_labels_and_splits(tmp_path):
    text = (
        "path,label,split\r\n"
        "ü b/c.png,dog,Train\r\n"
        "\r\n"
        'a.png,"cat, small",valid\r\n'
        " d.png , dog , test \r\n"
    )
    for encoding in ("utf-8", "utf-8-sig"):
        file = table(tmp_path, text, encoding)
        assert list_photos(file).class_names == ("cat, small", "dog")
        assert listed(file) == [
            ("ü b/c.png", "dog", "train"),
            ("a.png", "cat, small", "val"),
            ("d.png", "dog", "test"),
        ]


def test_csv_without_splits_leaves_them_open(tmp_path):
    file = table(tmp_path, f"Label,Path,note\ncat,a.png,x\ndog,{tmp_path}/d.png,y\n")
    assert listed(file) == [("a.png", "cat", None), ("d.png", "dog", None)]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "has the columns (none): its first line must be path,label or path,label,split"),
        ("file,class\na.png,cat\n", "has the columns file,class: its first line must be"),
        ("path;label\na.png;cat\n", "has the columns path;label: its first line must be"),
        ("path,label\n", "lists no photo: add a line"),
        ("path,label\na.png,cat\nd.png,cat\n", "has only one class, cat"),
        ("path,label\na.png,cat\nd.png\n", "photos.csv, line 3: path or label is missing"),
        ("path,label\na.png,cat\n,dog\n", "photos.csv, line 3: path or label is missing"),
        (
            "path,label,split\na.png,cat,dev\n",
            "line 2: split must be train, validation or test, got 'dev'",
        ),
        ("path,label,split\na.png,cat\n", "line 2: split must be train, validation or test, got"),
        (
            "path,label\na.png,cat\nx.png,dog\ny.png,dog\n",
            "lists {0}/x.png and 1 more, which does not exist: give paths relative to {0}",
        ),
        ("path,label\na.png,cat\n.,dog\n", "lists {0}, which does not exist"),
    ],
)
def test_csv_of_another_form_is_rejected(tmp_path, text, message):
    rejected(table(tmp_path, text), message.format(tmp_path))


def test_csv_of_another_encoding_is_rejected(tmp_path):
    file = table(tmp_path, "path,label\nü.png,cat\n", "latin-1")
    rejected(file, "photos.csv is not in UTF-8: save it as CSV in UTF-8")


def test_damaged_csv_is_rejected(tmp_path):
    file = table(tmp_path, "path,label\na.png," + "x" * 200_000 + "\n")
    rejected(file, "cannot be read as CSV")
