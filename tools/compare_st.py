#!/usr/bin/env python3
"""lmrun's vectors against sentence-transformers' over many texts.

    compare_st.py FOLDER [MODEL] [--n 200] [--threads 2] [--time]

FOLDER is a sentence-transformers model; MODEL what lmrun opens, a GGUF of it or (default) the folder itself.  Prints the
smallest cosine over the texts, the largest difference of an element, and with --time texts per second of both.  Exit
status 1 below a cosine of 0.99999.  Needs: sentence-transformers, torch, numpy."""
import argparse
import json
import os
import subprocess
import sys
import time

WORDS = ("the a one every my small red old quick strange model cat river engine table cloud teacher price sleeps burns "
         "computes answers writes falls near under without because while today never \u00e9t\u00e9 \u00dcber na\u00efve "
         "\u6771\u4eac \u041c\u043e\u0441\u043a\u0432\u0430 3.14 42 (not) \"quoted\" e-mail don't C++ \U0001F600").split()


def texts(n):
    """Deterministic, of 1 to about 300 words, punctuation and scripts mixed."""
    out, seed = [], 12345
    for i in range(n):
        words = []
        for _ in range(1 + (i * i) % 40 if i % 20 else 300):
            seed = (seed * 1103515245 + 12345) % (1 << 31)
            words.append(WORDS[(seed >> 8) % len(WORDS)])
        out.append(" ".join(words).capitalize() + ".?!,"[i % 4])
    return out


def ours(a, path, longest):
    model = a.model or a.folder
    cmd = [a.lmrun, "embed", "-m", model, "-f", path, "--json", "-q", "-t", str(a.threads)]
    if model.endswith(".gguf"):                            # where no key holds the length at which texts are cut
        cmd += ["-c", str(longest)]
    t = time.time()
    run = subprocess.run(cmd, check=True, stdout=subprocess.PIPE)
    return [json.loads(line)["embedding"] for line in run.stdout.splitlines()], time.time() - t


def main():
    p = argparse.ArgumentParser()
    p.add_argument("folder")
    p.add_argument("model", nargs="?")
    p.add_argument("--lmrun", default="./lmrun")
    p.add_argument("--n", type=int, default=200)
    p.add_argument("--threads", type=int, default=2)
    p.add_argument("--time", action="store_true")
    a = p.parse_args()
    os.environ["OMP_NUM_THREADS"] = str(a.threads)
    import numpy as np
    import torch
    from sentence_transformers import SentenceTransformer
    torch.set_num_threads(a.threads)
    sentences = texts(a.n)
    path = os.path.join(os.environ.get("TMPDIR", "/tmp"), f"compare_st.{os.getpid()}.txt")
    with open(path, "w") as f:
        f.write("\n".join(sentences) + "\n")
    st = SentenceTransformer(a.folder, device="cpu", model_kwargs={"dtype": torch.float32})
    want = np.asarray(st.encode(sentences, batch_size=32), np.float64)
    got, _ = ours(a, path, st.max_seq_length)
    got = np.asarray(got, np.float64)
    cosine = (want * got).sum(1) / np.linalg.norm(want, axis=1) / np.linalg.norm(got, axis=1)
    print(f"{a.n} texts: smallest cosine {cosine.min():.9f}, largest difference {np.abs(want - got).max():.2e}")
    if a.time:
        theirs = min(timed(lambda: st.encode(sentences, batch_size=32)) for _ in range(3))
        few = min(ours(a, write(path, sentences[:1]), st.max_seq_length)[1] for _ in range(3))
        both = min(ours(a, write(path, sentences), st.max_seq_length)[1] for _ in range(3))
        print(f"{a.threads} threads: lmrun {(a.n - 1) / (both - few):.1f} texts/s (start and load {few:.2f} s apart), "
              f"sentence-transformers {a.n / theirs:.1f}")
    os.unlink(path)
    sys.exit(0 if cosine.min() >= 0.99999 else 1)


def write(path, sentences):
    with open(path, "w") as f:
        f.write("\n".join(sentences) + "\n")
    return path


def timed(fn):
    t = time.time()
    fn()
    return time.time() - t


if __name__ == "__main__":
    main()
