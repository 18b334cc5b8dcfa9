import os, shlex, json
from pathlib import Path
import pytest, torch
def test_trials(run, tiny, plain, tmp_path):
    for i, line in enumerate(Path(os.environ["TRIALS"]).read_text().splitlines()):
        line = line.strip()
        if not line or line.startswith("#"): continue
        quiet = [] if line.startswith("!") else plain
        line = line.lstrip("! ")
        logs = tmp_path / f"t{i}"
        ended = run("train.py", *tiny(logs, *quiet, *shlex.split(line)))
        print("=" * 100); print(">>>", line); print("status", ended.status)
        out = ended.out
        if ended.status == 0 and "┃" in out: out = out.split("┏")[0] if "SHOW" not in os.environ else out
        print(out[-3000:]); print("--- err:", ended.err[-2500:])
        for f in sorted(logs.rglob("*")):
            if f.is_file() and not f.name.startswith((".", "events")) and ".hydra" not in str(f) and "figures" not in str(f):
                extra = ""
                if f.suffix == ".ckpt":
                    c = torch.load(f, weights_only=True); extra = f"epoch {c['epoch']} {c['metrics'].get('val/loss')} thr {c['classifier']['threshold']}"
                if f.name == "metrics.json":
                    m = json.loads(f.read_text()); extra = {k: m[k] for k in m if k.startswith(("val/", "test/thr", "calib"))}
                print("   ", f.relative_to(logs), extra)
