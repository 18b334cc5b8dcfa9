"""`data=clothing`: a mistake is one line that names the way out, and leaves nothing behind."""

import pytest

from fashion_transfer.data import clothing


@pytest.mark.parametrize("failure", ["broken off", "another content", "not there"])
def test_photos_that_cannot_be_downloaded_name_the_key_to_set(
    run, plain, site, closed_url, tmp_path, monkeypatch, failure
):
    monkeypatch.setattr(clothing, "URL", f"{site.url}photos.tar.gz")
    site.files["photos.tar.gz"] = b"not the photos" * 1000
    if failure == "broken off":
        site.cut = {"photos.tar.gz"}
    elif failure == "not there":
        monkeypatch.setattr(clothing, "URL", f"{closed_url}photos.tar.gz")
    small = ["model.backbone.name=resnet18", "model.backbone.weights=null", "data.image_size=32"]
    paths = [f"paths.{name}={tmp_path / name}" for name in ("data", "logs", "cache")]
    line = run("train.py", "data=clothing", *small, *plain, *paths).mistake()
    assert clothing.URL in line
    assert line.endswith("name a folder that has the files already (data.dir=PATH)")
    assert [path.name for path in (tmp_path / "data").iterdir()] == [".clothing.lock"]
