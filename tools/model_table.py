#!/usr/bin/env python3
"""model_table.py [--short] [NAME...]: how far lmrun is from the references, case by case, without a bound that hides the figure.

For every folder under tests/model/hf (with names: those whose name contains one of them): the largest difference of a
log-probability from the golden (transformers, float32), of the weights as F32 on `--device ref` and on the CPU, and as BF16
on the CPU.  For every folder under tests/model/layouts the same on ref and CPU.  --short: a line per folder of the source
tree and the worst case only.  --reference: instead, loads each folder in transformers and compares with the golden: are
the goldens still what transformers says of the very files?  Needs numpy, --reference also torch and transformers."""
import os
import subprocess
import sys
import tempfile

import numpy as np

os.chdir(os.path.join(os.path.dirname(os.path.abspath(__file__)), ".."))
COLUMNS = {
    "hf": (("F32 ref", 1e-4, ["--precision", "f32", "--device", "ref"]), ("F32 cpu", 2e-3, ["--precision", "f32"]), ("BF16 cpu", 2e-2, [])),
    "layouts": (("ref", 1e-4, ["--device", "ref"]), ("cpu", 2e-3, [])),
}


def golden(path):
    with open(path, "rb") as f:
        assert f.read(8) == b"LMGOLD2\0", path
        n_seqs, n_vocab = np.fromfile(f, "<i4", 2)
        for _ in range(n_seqs):
            n, n_greedy = np.fromfile(f, "<i4", 2)
            ids = np.fromfile(f, "<i4", n)
            np.fromfile(f, "<i4", n_greedy)
            yield ids.tolist(), np.fromfile(f, "<f4", n * n_vocab).reshape(n, n_vocab)


def ours(folder, ids, flags):
    with tempfile.NamedTemporaryFile(suffix=".f32") as f:
        subprocess.run(["./lmrun", "score", "-m", folder, "--tokens", ",".join(map(str, ids)), "--json", "--logprobs-out", f.name, "-ctk", "f32", "-ctv", "f32", *flags],
                       stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True, check=True)
        return np.fromfile(f.name, "<f4").reshape(len(ids), -1)


def theirs(folder):
    import torch
    import transformers as tf
    config = tf.AutoConfig.from_pretrained(folder)
    cls = getattr(tf, config.architectures[0])
    net = cls.from_pretrained(folder, dtype=torch.float32, attn_implementation="eager").eval()

    def run(ids):
        with torch.no_grad():
            out = net(torch.tensor([ids]), use_cache=False)
        return torch.log_softmax(out.logits[0].double(), -1).numpy()
    return run


def far(gold, fn):
    return max(float(np.abs(fn(ids) - want).max()) for ids, want in gold)


def main():
    short, reference = "--short" in sys.argv, "--reference" in sys.argv
    names = [a for a in sys.argv[1:] if not a.startswith("--")]
    for kind, columns in COLUMNS.items():
        root = "tests/model/" + kind
        cases = sorted(f[:-5] for f in os.listdir(root) if f.endswith(".gold") and (not names or any(n in f for n in names)))
        if reference:
            columns = (("transformers", 1e-5, None),)
            if kind != "hf":
                continue
        worst = [(0.0, "")] * len(columns)
        print(f"| {kind}, {len(cases)} cases | " + " | ".join(f"{c[0]}, bound {c[1]:g}" for c in columns) + " |\n|---|" + "---|" * len(columns))
        for name in cases:
            gold, row = list(golden(f"{root}/{name}.gold")), []
            for i, (_, _, flags) in enumerate(columns):
                try:
                    d = far(gold, theirs(f"{root}/{name}") if reference else lambda ids: ours(f"{root}/{name}", ids, flags))
                except Exception as e:
                    print(f"{name}: {str(getattr(e, 'stderr', '') or e).strip().splitlines()[-1]}", file=sys.stderr)
                    d = float("nan")
                row.append(d)
                worst[i] = max(worst[i], (d, name))
            if not short:
                print(f"| {name} | " + " | ".join(f"{d:.1e}" for d in row) + " |", flush=True)
        print("| worst | " + " | ".join(f"{d:.1e} ({n})" for d, n in worst) + " |", flush=True)


main()
