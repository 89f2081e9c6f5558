#!/usr/bin/env python3
"""synth_gguf.py SHAPE TYPE VOCAB.gguf OUT.gguf: a model of a real one's shape with weights from a seed, to measure speed.

Weights are random blocks whose values have a mean of 0 and a deviation of 1/sqrt(columns), so that activations keep their
size through the layers; a text is noise, the work that of the real model.  Blocks are drawn once for a type and deviation
(4 MB), and tensors are stretches of these from random places on.  The tokenizer's keys are VOCAB's, byte for byte; it must
have as many tokens as the shape.  Needs nothing but Python.  SHAPE: 1b, 8b, moe, tiny; TYPE: q4_k_m, q8_0, f16."""
import array, os, random, struct, sys

SHAPES = {                               # hidden, layers, feed-forward, heads, KV heads, head size, vocabulary
    "1b": dict(arch="llama", h=2048, n=16, ff=8192, heads=32, kv=8, hd=64, vocab=128256, tied=True, ctx=131072, base=5e5),     # Llama 3.2 1B
    "8b": dict(arch="llama", h=4096, n=32, ff=14336, heads=32, kv=8, hd=128, vocab=128256, tied=False, ctx=131072, base=5e5),  # Llama 3.1 8B
    # as Qwen3 30B-A3B, smaller: 2.7 G parameters, 0.63 G of them for a token
    "moe": dict(arch="qwen3moe", h=1536, n=16, ff=4096, heads=16, kv=4, hd=128, vocab=128256, tied=True, ctx=40960, base=1e6,
                experts=64, used=8, eff=512),
    "tiny": dict(arch="llama", h=256, n=4, ff=512, heads=4, kv=2, hd=64, vocab=0, tied=True, ctx=2048, base=1e4),
}
F32, F16, Q8_0, Q4_K, Q6_K = 0, 1, 8, 12, 14
BLOCK = {F32: (1, 4), F16: (32, 64), Q8_0: (32, 34), Q4_K: (256, 144), Q6_K: (256, 210)}     # elements, bytes
FILE_TYPE = {"f16": 1, "q8_0": 7, "q4_k_m": 15}
POOL, ALIGN = 4 << 20, 32


# ---- blocks ------------------------------------------------------------------------------------------------------------
# A mean that is not 0 would grow from layer to layer until all activations are equal, and kernels choose by these.
def normals(rng, n, mean, scale, lo, hi):
    return bytes(min(max(round(rng.gauss(mean, scale)), lo), hi) & 255 for _ in range(n))


def block_q8_0(rng, std, q):
    at = rng.randrange(len(q[0]) - 32)
    return struct.pack("<e", std / 40) + q[0][at:at + 32]


def block_q4_k(rng, std, q):
    """value = d * s * q - dmin * m with q around 7.5: m = s and dmin = 7.5 d centre it."""
    s = [rng.randrange(40, 64) for _ in range(8)]
    d = std / (3.5 * 51.5)
    low = [s[i] | (s[i + 4] >> 4) << 6 for i in range(4)]
    high = [(s[i] & 15) * 17 for i in range(4, 8)]           # a scale's low bits and the equal minimum's
    at = rng.randrange(len(q[1]) - 128)
    return struct.pack("<ee", d, 7.5 * d) + bytes(low + low + high) + q[1][at:at + 128]


def block_q6_k(rng, std, q):
    s = bytes(rng.choice((1, -1)) * rng.randrange(60, 128) & 255 for _ in range(16))
    at, hi = rng.randrange(len(q[1]) - 128), rng.randrange(len(q[2]) - 64)
    return q[1][at:at + 128] + q[2][hi:hi + 64] + s + struct.pack("<e", std / (15.8 * 94))


class Blocks:
    def __init__(self, seed):
        self.rng, self.pools = random.Random(seed), {}
        n = 1 << 16
        nibbles = [normals(self.rng, n, 7.5, 3.5, 0, 15) for _ in range(2)]
        # int8; two nibbles around 7.5; four pairs of high bits, the middle ones more often
        self.raw = (normals(self.rng, n, 0, 40, -127, 127), bytes(a | b << 4 for a, b in zip(*nibbles)),
                    bytes(sum(self.rng.choice((0, 1, 1, 2, 2, 3)) << s for s in (0, 2, 4, 6)) for _ in range(n)))

    def pool(self, t, std):
        if (t, std) not in self.pools:
            if t in (F32, F16):
                make = lambda: struct.pack("<32" + ("e" if t == F16 else "f"), *(self.rng.gauss(0, std) for _ in range(32)))
                p = b"".join(make() for _ in range(1 << 13)) * 8
            else:
                make = {Q8_0: block_q8_0, Q4_K: block_q4_k, Q6_K: block_q6_k}[t]
                p = b"".join(make(self.rng, std, self.raw) for _ in range(min(POOL // BLOCK[t][1], 1 << 15)))
            self.pools[t, std] = p
        return self.pools[t, std]

    def tensor(self, f, t, size, std):
        """Stretches of at most an eighth of the pool: neighbouring rows differ."""
        p, b = memoryview(self.pool(t, std)), BLOCK[t][1]
        while size:
            n = min(size, len(p) // 8 // b * b)
            at = self.rng.randrange((len(p) - n) // b + 1) * b
            f.write(p[at:at + n])
            size -= n


# ---- which tensors, of which type ----------------------------------------------------------------------------------------
def weight_type(mix, role, i, n):
    if mix != "q4_k_m":
        return {"q8_0": Q8_0, "f16": F16}[mix]
    more = i < n // 8 or i >= 7 * n // 8 or (i - n // 8) % 3 == 2      # llama-quantize's layers of more bits
    return Q6_K if role == "output" or (role in ("attn_v", "ffn_down") and more) else Q4_K


def tensors(s, mix):
    """(name, dims with the row length first, type)."""
    h, n, q, kv = s["h"], s["n"], s["heads"] * s["hd"], s["kv"] * s["hd"]
    yield "token_embd.weight", (h, s["vocab"]), weight_type(mix, "output" if s["tied"] else "embd", 0, n)
    for i in range(n):
        w = lambda role, cols, *rows, part="": (f"blk.{i}.{role}{part}.weight", (cols, *rows), weight_type(mix, role, i, n))
        norm = lambda role, cols: (f"blk.{i}.{role}.weight", (cols,), F32)
        yield from (norm("attn_norm", h), w("attn_q", h, q), w("attn_k", h, kv), w("attn_v", h, kv), w("attn_output", q, h))
        if s["arch"] == "qwen3moe":
            yield from (norm("attn_q_norm", s["hd"]), norm("attn_k_norm", s["hd"]))
        yield norm("ffn_norm", h)
        if "experts" in s:
            e, f = s["experts"], s["eff"]
            yield (f"blk.{i}.ffn_gate_inp.weight", (h, e), F32)
            yield from (w("ffn_gate", h, f, e, part="_exps"), w("ffn_up", h, f, e, part="_exps"), w("ffn_down", f, h, e, part="_exps"))
        else:
            yield from (w("ffn_gate", h, s["ff"]), w("ffn_up", h, s["ff"]), w("ffn_down", s["ff"], h))
    yield "output_norm.weight", (h,), F32
    if not s["tied"]:
        yield "output.weight", (h, s["vocab"]), weight_type(mix, "output", 0, n)


# ---- the file ------------------------------------------------------------------------------------------------------------
def string(text):
    return struct.pack("<Q", len(text.encode())) + text.encode()


def u32(key, v):
    return string(key) + struct.pack("<II", 4, v)


def f32(key, v):
    return string(key) + struct.pack("<If", 6, v)


SIZE = {0: 1, 1: 1, 2: 2, 3: 2, 4: 4, 5: 4, 6: 4, 7: 1, 10: 8, 11: 8, 12: 8}


def skip(d, at, t):
    """Where the value of type t at `at` ends."""
    if t == 8:
        return at + 8 + struct.unpack_from("<Q", d, at)[0]
    if t != 9:
        return at + SIZE[t]
    of, n = struct.unpack_from("<IQ", d, at)
    at += 12
    if of in SIZE:
        return at + n * SIZE[of]
    for _ in range(n):
        at = skip(d, at, of)
    return at


def tokenizer(path):
    """The keys tokenizer.*, each as its bytes, and how many tokens there are."""
    d = open(path, "rb").read()
    magic, version, _, n = struct.unpack_from("<4sIQQ", d)
    if magic != b"GGUF" or version < 2:
        sys.exit(f"{path} is no GGUF file of version 2 or 3")
    out, count, at = [], 0, 24
    for _ in range(n):
        start, size = at, struct.unpack_from("<Q", d, at)[0]
        key, at = d[at + 8:at + 8 + size].decode(), at + 8 + size
        t, value = struct.unpack_from("<I", d, at)[0], at + 4
        at = skip(d, value, t)
        if key.startswith("tokenizer."):
            out.append(d[start:at])
        if key == "tokenizer.ggml.tokens":
            count = struct.unpack_from("<Q", d, value + 4)[0]
    return out, count


def header(shape, mix, s, tok):
    a = s["arch"]
    kv = [string("general.architecture") + struct.pack("<I", 8) + string(a), string("general.name") + struct.pack("<I", 8) + string(f"synthetic-{shape}-{mix}"),
          u32("general.file_type", FILE_TYPE[mix]), u32("general.quantization_version", 2), u32(a + ".context_length", s["ctx"]),
          u32(a + ".embedding_length", s["h"]), u32(a + ".block_count", s["n"]), u32(a + ".feed_forward_length", s["ff"]),
          u32(a + ".attention.head_count", s["heads"]), u32(a + ".attention.head_count_kv", s["kv"]), u32(a + ".attention.key_length", s["hd"]),
          u32(a + ".attention.value_length", s["hd"]), u32(a + ".rope.dimension_count", s["hd"]), f32(a + ".rope.freq_base", s["base"]),
          f32(a + ".attention.layer_norm_rms_epsilon", 1e-5), u32(a + ".vocab_size", s["vocab"])]
    if "experts" in s:
        kv += [u32(a + ".expert_count", s["experts"]), u32(a + ".expert_used_count", s["used"]), u32(a + ".expert_feed_forward_length", s["eff"])]
    return kv + tok


def write(shape, mix, vocab, out, seed=1):
    s = dict(SHAPES[shape])
    tok, n_tok = tokenizer(vocab)
    s["vocab"] = s["vocab"] or n_tok
    if n_tok != s["vocab"]:
        sys.exit(f"{vocab} has {n_tok} tokens, the shape {shape} {s['vocab']}")
    kv, plan, at, info = header(shape, mix, s, tok), [], 0, []
    for name, dims, t in tensors(s, mix):
        n = 1
        for d in dims:
            n *= d
        size = n // BLOCK[t][0] * BLOCK[t][1]
        info.append(string(name) + struct.pack(f"<I{len(dims)}QIQ", len(dims), *dims, t, at))
        plan.append((name, dims, t, size, at))
        at += -(-size // ALIGN) * ALIGN
    blocks = Blocks(seed)
    with open(out + ".part", "wb") as f:
        f.write(struct.pack("<4sIQQ", b"GGUF", 3, len(plan), len(kv)) + b"".join(kv + info))
        start = -(-f.tell() // ALIGN) * ALIGN
        for name, dims, t, size, at in plan:
            f.write(bytes(start + at - f.tell()))
            if len(dims) == 1:
                f.write(array.array("f", [1.0]) * dims[0])
            else:
                blocks.tensor(f, t, size, 0.02 if name.startswith("token_embd") else dims[0] ** -0.5)
    os.rename(out + ".part", out)


if __name__ == "__main__":
    if len(sys.argv) != 5 or sys.argv[1] not in SHAPES or sys.argv[2] not in FILE_TYPE:
        sys.exit(__doc__)
    write(*sys.argv[1:])
