#!/usr/bin/env python3
"""Writes tests/fixtures/quant.bin: what independent decoders and encoders make of every weight type.

References: the `gguf` package; bitsandbytes for NF4, FP4 and its int8; torch for 8-bit floats; numpy definitions
(PLAIN, LACKING) for the types that none of them decodes.  Usage: python tools/gold_quant.py > tests/fixtures/quant.bin

One record per codec, little endian:
  char kind ('D' or 'E'), char name[15], u32 blocks, u32 elems per block, u32 bytes per block, u32 random
  blocks, u64 hash of the random blocks' result; then for D the packed blocks and their f32 elements, for E
  the f32 elements and their packed blocks.
The random blocks are not stored: both sides draw them from the counter-based generator `word`.
All NaNs count as one.
"""
import struct
import sys
import numpy as np
import torch
import bitsandbytes.functional as bnb
from gguf import quants
from gguf.constants import GGML_QUANT_SIZES, GGMLQuantizationType as T

F16 = [0x0000, 0x8000, 0x0001, 0x8001, 0x03FF, 0x0400, 0x3C00, 0xBC01, 0x7BFF, 0xFBFF, 0x7C00, 0xFC00,
       0x7E01, 0xFD00]
F32 = [0, 0x80000000, 1, 0x807FFFFF, 0x00800000, 0x3F800000, 0xBF800001, 0x7F7FFFFF, 0xFF7FFFFF,
       0x7F800000, 0xFF800000, 0x7FC00001]
E8M0 = [0, 1, 2, 3, 127, 128, 253, 254, 255]
E4M3 = [0, 1, 7, 8, 9, 0x38, 0x77, 0x78, 0x7E, 0x7F, 0x80, 0x81, 0xFE, 0xFF]
# name: elements per block, bytes per block, then (offset, width, adversarial values) of the scale fields
BLOCKS = {
    "q4_0": (32, 18, (0, 2, F16)), "q4_1": (32, 20, (0, 2, F16), (2, 2, F16)),
    "q5_0": (32, 22, (0, 2, F16)), "q5_1": (32, 24, (0, 2, F16), (2, 2, F16)),
    "q8_0": (32, 34, (0, 2, F16)), "q8_1": (32, 36, (0, 2, F16)),
    "q2_k": (256, 84, (80, 2, F16), (82, 2, F16)), "q3_k": (256, 110, (108, 2, F16)),
    "q4_k": (256, 144, (0, 2, F16), (2, 2, F16)), "q5_k": (256, 176, (0, 2, F16), (2, 2, F16)),
    "q6_k": (256, 210, (208, 2, F16)), "q8_k": (256, 292, (0, 4, F32)),
    "iq2_xxs": (256, 66, (0, 2, F16)), "iq2_xs": (256, 74, (0, 2, F16)), "iq3_xxs": (256, 98, (0, 2, F16)),
    "iq1_s": (256, 50, (0, 2, F16)), "iq4_nl": (32, 18, (0, 2, F16)), "iq3_s": (256, 110, (0, 2, F16)),
    "iq2_s": (256, 82, (0, 2, F16)), "iq4_xs": (256, 136, (0, 2, F16)), "iq1_m": (256, 56),
    "tq1_0": (256, 54, (52, 2, F16)), "tq2_0": (256, 66, (64, 2, F16)), "mxfp4": (32, 17, (0, 1, E8M0)),
    "nvfp4": (64, 36, (0, 1, E4M3), (3, 1, E4M3)), "q1_0": (128, 18, (0, 2, F16)),
    "q2_0": (64, 18, (0, 2, F16)),
    "nf4": (64, 36, (0, 4, F32)), "fp4": (64, 36, (0, 4, F32)),
    "nv4": (64, 40, (0, 4, F32), (4, 1, E4M3), (7, 1, E4M3)),
    "z4_32": (32, 21, (0, 4, F32), (4, 1, E8M0)), "z4_128": (128, 69, (0, 4, F32), (4, 1, E8M0)),
    "z8_32": (32, 38, (0, 4, F32), (4, 2, F16)), "z8_128": (128, 134, (0, 4, F32), (4, 2, F16)),
    "bnb8": (32, 36, (0, 4, F32)), "f8_32": (32, 36, (0, 4, F32)), "f8_128": (128, 132, (0, 4, F32)),
}
PLAIN = {"f32": np.float32, "f16": np.float16, "bf16": None, "f64": np.float64,
         "f8_e4m3": None, "f8_e5m2": None, "i8": np.int8, "i16": np.int16, "i32": np.int32, "i64": np.int64}
PLAIN_BYTES = {"bf16": 2, "f8_e4m3": 1, "f8_e5m2": 1}
ENCODERS = ["f32", "f16", "bf16", "q4_0", "q4_1", "q5_0", "q5_1", "q8_0", "nf4"]
N_RANDOM = 1 << 18      # elements


def mix(x):
    x = (x ^ (x >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    x = (x ^ (x >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return x ^ (x >> np.uint64(31))


def word(i):
    """splitmix64 as a function of its counter"""
    return mix((np.asarray(i, np.uint64) + np.uint64(1)) * np.uint64(0x9E3779B97F4A7C15))


def total(v):
    v = v.astype(np.uint64)
    return int(mix(v + (np.arange(len(v), dtype=np.uint64) << np.uint64(32))).sum(dtype=np.uint64))


def canonical(f):
    u = np.ascontiguousarray(f, np.float32).ravel().view(np.uint32).copy()
    u[(u & 0x7FFFFFFF) > 0x7F800000] = 0x7FC00000
    return u


def half(b, at=0):
    return np.ascontiguousarray(b[:, at:at + 2]).view(np.float16).astype(np.float32)


def decode_bnb4(b, kind):
    state = bnb.QuantState(absmax=torch.from_numpy(np.ascontiguousarray(b[:, :4]).view(np.float32).ravel()),
                           shape=torch.Size([b.shape[0], 64]), dtype=torch.float32, blocksize=64,
                           quant_type=kind, code=bnb.get_4bit_type(kind, device="cpu"))
    return bnb.dequantize_4bit(torch.from_numpy(np.ascontiguousarray(b[:, 4:]).reshape(-1, 1)), state).numpy()


def f32(b):
    return np.ascontiguousarray(b[:, :4]).view(np.float32)


def word16(b):
    return np.ascontiguousarray(b[:, 4:6]).view(np.int16).astype(np.int32)


def nibbles(q, half):
    """of each 2 * half elements the first half in the low nibbles"""
    q = np.ascontiguousarray(q).reshape(len(q), -1, half)
    return np.concatenate([q & 15, q >> 4], axis=2).reshape(len(q), -1)


def torch_f8(b, dtype):
    return torch.from_numpy(np.ascontiguousarray(b)).view(dtype).to(torch.float32).numpy()


def decode_nv4(b):
    e2m1 = np.float32([0, .5, 1, 1.5, 2, 3, 4, 6, -0.0, -.5, -1, -1.5, -2, -3, -4, -6])
    d, g = torch_f8(b[:, 4:8], torch.float8_e4m3fn), f32(b)
    d = np.where(g < 0, d * -g, d / g)
    return (e2m1[nibbles(b[:, 8:], 8)].reshape(len(b), 4, 16) * d[:, :, None]).reshape(len(b), -1)


LACKING = {
    "q8_1": lambda b: half(b) * b[:, 4:].view(np.int8).astype(np.float32),
    "q8_k": lambda b: b[:, :4].copy().view(np.float32) * b[:, 4:260].view(np.int8).astype(np.float32),
    "q1_0": lambda b: half(b) * (np.unpackbits(b[:, 2:], axis=1, bitorder="little") * np.float32(2) - 1),
    "q2_0": lambda b: half(b) * ((b[:, 2:, None] >> np.uint8([0, 2, 4, 6]) & 3).reshape(len(b), -1)
                                 .astype(np.float32) - 1),
    "nf4": lambda b: decode_bnb4(b, "nf4"),
    "fp4": lambda b: decode_bnb4(b, "fp4"),
    "nv4": decode_nv4,
    "z4_32": lambda b: (nibbles(b[:, 5:], 16).astype(np.int32) - b[:, 4:5].view(np.int8)) * f32(b),
    "z4_128": lambda b: (nibbles(b[:, 5:], 16).astype(np.int32) - b[:, 4:5].view(np.int8)) * f32(b),
    "z8_32": lambda b: (b[:, 6:].view(np.int8).astype(np.int32) - word16(b)) * f32(b),
    "z8_128": lambda b: (b[:, 6:].view(np.int8).astype(np.int32) - word16(b)) * f32(b),
    "bnb8": lambda b: bnb.int8_vectorwise_dequant(torch.from_numpy(b[:, 4:].view(np.int8)),
                                                  torch.from_numpy(f32(b))).numpy(),
    "f8_e4m3": lambda b: torch_f8(b, torch.float8_e4m3fn),
    "f8_e5m2": lambda b: torch_f8(b, torch.float8_e5m2),
    "f8_32": lambda b: torch_f8(b[:, 4:], torch.float8_e4m3fn) * f32(b),
    "f8_128": lambda b: torch_f8(b[:, 4:], torch.float8_e4m3fn) * f32(b),
}


def decode(name, b):
    if PLAIN.get(name) is not None and name != "f16":
        return b.view(PLAIN[name]).astype(np.float32)
    if name in LACKING:
        return LACKING[name](b)
    return quants.dequantize(b, T[name.upper()])


def encode(name, x):
    if name == "nf4":
        q, state = bnb.quantize_4bit(torch.from_numpy(x.copy()), blocksize=64, quant_type="nf4")
        return np.hstack([state.absmax.numpy().view(np.uint8).reshape(-1, 4), q.numpy().reshape(-1, 32)])
    return np.ascontiguousarray(quants.quantize(x, T[name.upper()])).view(np.uint8).reshape(len(x), -1)


def shape(name):
    if name in BLOCKS:
        return BLOCKS[name][:2]
    return 1, PLAIN_BYTES.get(name) or np.dtype(PLAIN[name]).itemsize


def random_bytes(n):
    return word(np.arange((n + 7) // 8)).view(np.uint8)[:n]


def random_floats(n_blocks, elems):
    """int32 times a power of two per block, 2^-71 to 2^8: from below every half's range to above it"""
    i = np.arange(n_blocks * elems).reshape(n_blocks, elems)
    e = (word(np.arange(n_blocks) + (1 << 32)) % np.uint64(80)).astype(int) - 71
    f = (word(i) >> np.uint64(32)).astype(np.uint32).view(np.int32).astype(np.float32)
    return np.ldexp(f, e[:, None])


def hard_blocks(name, rng):
    elems, size = shape(name)
    if elems == 1:
        if name in ("f16", "bf16", "i16", "i8", "f8_e4m3", "f8_e5m2"):
            return rng.integers(0, 256, (256, size), dtype=np.uint8)
        edge = np.array(F32, np.uint32).astype(np.uint64) << np.uint64(0 if size == 4 else 32)
        edge = np.concatenate([edge, edge + np.uint64(1), edge - np.uint64(1)])
        edge = edge.view(np.uint8).reshape(-1, 8)[:, :size]
        return np.concatenate([edge, rng.integers(0, 256, (64, size), dtype=np.uint8)])
    fill = [np.full(size, v, np.uint8) for v in (0, 0xFF, 0x55, 0xAA, 0x80, 0x7F, 0x01)]
    fill.append(np.resize(np.array([0, 0xFF], np.uint8), size))
    for at, width, values in BLOCKS[name][2:]:
        for v in values:
            b = rng.integers(0, 256, size, dtype=np.uint8)
            b[at:at + width] = np.frombuffer(int(v).to_bytes(width, "little"), np.uint8)
            fill.append(b)
    for v in F16 if name == "iq1_m" else []:
        b = rng.integers(0, 256, size, dtype=np.uint8)
        for k in range(4):
            b[49 + 2 * k] = (b[49 + 2 * k] & 15) | (v >> (4 * k) & 15) << 4
        fill.append(b)
    return np.stack(fill)


def hard_floats(name, rng):
    elems = shape(name)[0]
    if elems == 1:
        f = np.array(F32[:-1], np.uint32).view(np.float32)
        return np.append(f, np.float32([65504, 65519.99, 65520, 1e-8])).reshape(-1, 1)
    x = [np.zeros(elems), np.ones(elems), -np.ones(elems), np.arange(elems), -np.arange(elems),
         np.where(np.arange(elems) == 5, 3.0, 0), np.where(np.arange(elems) % 2, 1.5, -1.5)]
    x += [rng.integers(-16, 17, elems) * s for s in (0.25, 0.5, 1, 3, 2**-20, 2**-30) for _ in range(3)]
    x += [rng.choice([-127, 127, 0.5, 1.5, -2.5, 63.5, 126.5], elems) for _ in range(3)]
    x += [rng.standard_normal(elems) * s for s in (1e-30, 1e-7, 1e-3, 1, 300, 1e6, 1e30)]
    if name == "nf4":
        code = bnb.get_4bit_type("nf4", device="cpu").numpy()
        mid = (code[:-1] + code[1:]) / np.float32(2)
        near = np.concatenate([mid, code] + [np.nextafter(mid, np.float32(to)) for to in (2, -2)])
        for scale in (1, 1, 2.0**-100, 2.0**-120, 3, 1.7, 0.1, 1e-37):
            row = rng.choice(near, elems)
            row[9] = 1
            x.append(row * np.float32(scale))
        x += [rng.integers(0, 2**b, elems, dtype=np.uint32).view(np.float32) for b in (1, 5, 22, 23, 24)]
        x += [-np.zeros(elems)] + [np.where(np.arange(elems) == 3, v, 1) for v in (np.inf, np.nan)]
    return np.stack(x).astype(np.float32)


def put(kind, name, n_random, digest, blocks, floats):
    elems, size = shape(name)
    assert blocks.shape == (len(blocks), size) and floats.size == len(blocks) * elems
    head = struct.pack("<c15sIIIIQ", kind, name.encode(), len(blocks), elems, size, n_random, digest)
    parts = [np.ascontiguousarray(blocks).tobytes(), np.ascontiguousarray(floats, np.float32).tobytes()]
    sys.stdout.buffer.write(head + b"".join(parts if kind == b"D" else parts[::-1]))


def main():
    np.seterr(all="ignore")
    for t, size in GGML_QUANT_SIZES.items():    # the package counts f32 fields in q8_1; they are f16
        assert shape(t.name.lower()) == size or t.name == "Q8_1", t.name
    for name in list(PLAIN) + list(BLOCKS):
        elems, size = shape(name)
        n = N_RANDOM // elems
        digest = total(canonical(decode(name, random_bytes(n * size).reshape(n, size))))
        hard = hard_blocks(name, np.random.default_rng(7))
        put(b"D", name, n, digest, hard, decode(name, hard))
    for name in ENCODERS:
        elems = shape(name)[0]
        n = N_RANDOM // 4 // elems
        digest = total(encode(name, random_floats(n, elems)).ravel())
        hard = hard_floats(name, np.random.default_rng(8))
        put(b"E", name, n, digest, encode(name, hard), hard)


main()
