#!/usr/bin/env python3
"""Writes tests/engine/sampler.txt: draws of an independent sampler (numpy, whole sorts, textbook formulas).

A line: n_vocab lcg steps | temperature top_k typical top_p min_p repeat presence frequency last_n ignore_eos seed |
n (id bias)* | n history* | draws for the positions n_hist, n_hist+1, ...  (the history does not grow).
Logits come from a 32-bit LCG; `steps` coarsens them so that ties occur.  Ends of generation are ids 2 and 5."""
import random
import sys

import numpy as np

DRAWS, ENDS = 24, (2, 5)


def philox(ctr, key):                     # Salmon et al. 2011, table 2: Philox4x32-10
    c, k = list(ctr), list(key)
    for _ in range(10):
        a, b = 0xD2511F53 * c[0], 0xCD9E8D57 * c[2]
        c = [(b >> 32) ^ c[1] ^ k[0], b & 0xFFFFFFFF, (a >> 32) ^ c[3] ^ k[1], a & 0xFFFFFFFF]
        k = [(k[0] + 0x9E3779B9) & 0xFFFFFFFF, (k[1] + 0xBB67AE85) & 0xFFFFFFFF]
    return c


def uniform(seed, pos):
    r = philox([pos & 0xFFFFFFFF, pos >> 32, 0, 0], [seed & 0xFFFFFFFF, seed >> 32])
    return ((r[0] << 32 | r[1]) >> 11) * 2.0 ** -53


def logits(n, x, steps):
    out = []
    for _ in range(n):
        x = (x * 1664525 + 1013904223) & 0xFFFFFFFF
        v = (x >> 8) / 2 ** 24
        out.append(np.floor(v * steps) / steps if steps else v)
    return (np.array(out) * 20 - 10).astype(np.float32)


def softmax(l):
    e = np.exp(l.astype(np.float64) - l.max())
    return e / e.sum()


def pick(c, pos):
    c = {**c, **{k: float(np.float32(c[k])) for k in ("temperature", "typical", "top_p", "min_p")}}   # the interface's f32
    l = logits(c["n"], c["lcg"], c["steps"])
    for i, b in c["bias"]:
        l[i] += np.float32(b)
    if c["ignore_eos"]:
        l[list(ENDS)] = -np.inf
    if c["last_n"]:
        window = c["hist"] if c["last_n"] < 0 else c["hist"][-c["last_n"]:]
        for i in set(window):
            f = np.float32
            l[i] = l[i] * f(c["repeat"]) if l[i] <= 0 else l[i] / f(c["repeat"])
            l[i] -= f(window.count(i)) * f(c["frequency"]) + f(c["presence"])
    ids = np.array(sorted(range(c["n"]), key=lambda i: (-l[i], i)))
    if c["top_k"] > 0:
        ids = ids[:c["top_k"]]
    if c["typical"] < 1:
        p = softmax(l[ids])
        ok = p > 0
        h = -(p[ok] * np.log(p[ok])).sum()
        with np.errstate(divide="ignore"):
            shift = np.abs(-np.log(p) - h)
        order = np.argsort(shift, kind="stable")
        n = int(np.argmax(np.cumsum(p[order]) > c["typical"])) + 1
        ids = ids[np.sort(order[:n])]
    if c["top_p"] < 1:
        p = softmax(l[ids])
        ids = ids[:int(np.argmax(np.cumsum(p) >= c["top_p"])) + 1]
    if c["min_p"] > 0:
        p = softmax(l[ids])
        ids = ids[p >= c["min_p"] * p[0]]
    if c["temperature"] == 0:
        return int(ids[0])
    p = softmax(l[ids].astype(np.float64) / c["temperature"])
    return int(ids[int(np.argmax(np.cumsum(p) > uniform(c["seed"], pos)))])


def cases():
    rnd = random.Random(7)
    off = dict(n=50, lcg=1, steps=0, temperature=1.0, top_k=0, typical=1.0, top_p=1.0, min_p=0.0, repeat=1.0,
               presence=0.0, frequency=0.0, last_n=64, ignore_eos=0, seed=42, bias=[], hist=[1, 2, 3])
    for one in [{}, {"temperature": 0}, {"temperature": 0.25}, {"temperature": 3.5}, {"top_k": 1}, {"top_k": 7},
                {"top_k": 500}, {"typical": 0.2}, {"typical": 0.9}, {"temperature": 0, "typical": 0.2},
                {"top_p": 0.0}, {"top_p": 0.5}, {"top_p": 0.99}, {"min_p": 0.05}, {"min_p": 1.0},
                {"repeat": 1.5, "hist": list(range(0, 50, 2))}, {"repeat": 0.5, "hist": [9, 9, 9]},
                {"presence": 4.0, "hist": list(range(50))[::3]}, {"frequency": 1.5, "hist": [4] * 9 + [7] * 3},
                {"repeat": 1.3, "last_n": 2, "hist": [30, 31, 32, 33]}, {"repeat": 9.0, "last_n": 0},
                {"repeat": 1.3, "last_n": -1, "hist": list(range(40)) * 3}, {"ignore_eos": 1},
                {"bias": [(3, 8.5), (4, -3.25)]}, {"bias": [(3, float("-inf"))], "temperature": 0},
                {"seed": 2 ** 63 + 5}, {"hist": [0] * 5000, "last_n": 8, "frequency": 0.5}]:
        for extra in [{}, {"n": 3000, "lcg": 99}, {"n": 400, "lcg": 5, "steps": 16}]:
            yield {**off, **one, **extra}
    for extra in [{}, {"temperature": 8.0}, {"top_p": 0.999}, {"min_p": 1e-6}]:
        yield {**off, "n": 20000, "lcg": 3, **extra}
    for i in range(150):
        n = rnd.choice([2, 8, 50, 1500])
        yield dict(n=n, lcg=i, steps=rnd.choice([0, 0, 5, 64]), temperature=rnd.choice([0, 0.7, 0.8, 1.0, 1.5]),
                   top_k=rnd.choice([0, 1, 5, 40]), typical=rnd.choice([1.0, 1.0, 0.5]),
                   top_p=rnd.choice([1.0, 0.95, 0.6]), min_p=rnd.choice([0.0, 0.05, 0.3]),
                   repeat=rnd.choice([1.0, 1.1]), presence=rnd.choice([0.0, 0.5]), frequency=rnd.choice([0.0, 0.25]),
                   last_n=rnd.choice([64, 3, -1]), ignore_eos=rnd.choice([0, 1]) if n > 5 else 0,
                   seed=rnd.getrandbits(64), bias=[(rnd.randrange(n), rnd.choice([-2.5, 1.5]))],
                   hist=[rnd.randrange(n) for _ in range(rnd.randrange(1, 90))])


def main():
    with open(sys.argv[1] if len(sys.argv) > 1 else "tests/engine/sampler.txt", "w") as f:
        for c in cases():
            if c["ignore_eos"] and c["n"] <= max(ENDS):
                continue
            w = [c["n"], c["lcg"], c["steps"], c["temperature"], c["top_k"], c["typical"], c["top_p"], c["min_p"],
                 c["repeat"], c["presence"], c["frequency"], c["last_n"], c["ignore_eos"], c["seed"], len(c["bias"])]
            w += [v for b in c["bias"] for v in b] + [len(c["hist"])] + c["hist"]
            w += [pick(c, len(c["hist"]) + i) for i in range(DRAWS)]
            f.write(" ".join(map(str, w)) + "\n")


main()
