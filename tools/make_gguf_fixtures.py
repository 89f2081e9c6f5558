#!/usr/bin/env python3
"""Writes tests/fixtures/gguf/ with the `gguf` package, the reference writer: what tests/format/test_gguf.c expects.

usage: tools/make_gguf_fixtures.py    (from the repository root; needs gguf and numpy)
"""
import json
import pathlib
import struct

import gguf
import numpy as np

OUT = pathlib.Path("tests/fixtures/gguf")


def write(w, path):
    w.write_header_to_file(path)
    w.write_kv_data_to_file()
    w.write_tensors_to_file()
    w.close()


def ramp(*shape):
    return np.arange(np.prod(shape), dtype=np.float32).reshape(shape)


def types(path):
    """Every metadata type, arrays of every element type, tensors of several."""
    w = gguf.GGUFWriter(None, "tiny")
    w.add_uint8("t.u8", 200)
    w.add_int8("t.i8", -100)
    w.add_uint16("t.u16", 60000)
    w.add_int16("t.i16", -30000)
    w.add_uint32("t.u32", 4000000000)
    w.add_int32("t.i32", -2000000000)
    w.add_float32("t.f32", 0.1)
    w.add_uint64("t.u64", 2**64 - 1)
    w.add_int64("t.i64", -(2**62))
    w.add_float64("t.f64", 1e-5)
    w.add_float32("t.whole", 3.0)
    w.add_bool("t.yes", True)
    w.add_bool("t.no", False)
    w.add_string("t.str", "zwei Wörter")
    w.add_key_value("t.empty", "", gguf.GGUFValueType.STRING)   # add_string drops it
    T = gguf.GGUFValueType
    for name, kind, values in [
        ("u8", T.UINT8, [0, 255]), ("i8", T.INT8, [-128, 127]), ("u16", T.UINT16, [0, 65535]),
        ("i16", T.INT16, [-32768, 32767]), ("u32", T.UINT32, [0, 2**32 - 1]), ("i32", T.INT32, [-(2**31), 2**31 - 1]),
        ("f32", T.FLOAT32, [0.5, -2.0]), ("u64", T.UINT64, [0, 2**63]), ("i64", T.INT64, [-(2**63), 2**63 - 1]),
        ("f64", T.FLOAT64, [0.25, 1e300]), ("bool", T.BOOL, [True, False]), ("str", T.STRING, ["a", "", "ccc"]),
    ]:
        w.add_key_value("a." + name, values, T.ARRAY, kind)
    w.add_key_value("a.many", [f"token {i}" for i in range(100)], T.ARRAY, T.STRING)
    w.add_tensor("one", ramp(5))
    w.add_tensor("mat", ramp(3, 4).astype(np.float16))
    w.add_tensor("cube", ramp(2, 3, 4))
    w.add_tensor("four", ramp(2, 1, 3, 2).astype(np.int32))
    for kind in (gguf.GGMLQuantizationType.Q8_0, gguf.GGMLQuantizationType.Q4_1):
        w.add_tensor(kind.name.lower(), gguf.quantize(ramp(2, 64), kind), raw_dtype=kind)
    write(w, path)


def aligned(path):
    w = gguf.GGUFWriter(None, "tiny")
    w.add_custom_alignment(256)
    w.add_tensor("a", ramp(3))
    w.add_tensor("b", ramp(2))
    write(w, path)


def split(path):
    w = gguf.GGUFWriter(path, "tiny", split_max_tensors=2)
    w.add_string("t.str", "in the first part")
    for i in range(5):
        w.add_tensor(f"blk.{i}.weight", ramp(2, 4) + 100 * i)
    write(w, path)


def golden(path):
    """What the package's reader finds in the file, for tests/cli/test_inspect.py."""
    r = gguf.GGUFReader(path)
    plain = lambda v: [plain(x) for x in v] if isinstance(v, list) else v.item() if hasattr(v, "item") else v
    out = {"metadata": {k: plain(f.contents()) for k, f in r.fields.items() if not k.startswith("GGUF.")},
           "tensors": [{"name": t.name, "type": t.tensor_type.name.lower(), "shape": plain(t.shape.tolist()),
                        "offset": int(t.data_offset), "bytes": int(t.n_bytes)} for t in r.tensors]}
    path.with_suffix(".json").write_text(json.dumps(out, indent=1, ensure_ascii=False) + "\n")


def main():
    OUT.mkdir(parents=True, exist_ok=True)
    types(OUT / "types.gguf")
    golden(OUT / "types.gguf")
    data = bytearray((OUT / "types.gguf").read_bytes())
    struct.pack_into("<I", data, 4, 2)      # version 2 differs in its number alone
    (OUT / "v2.gguf").write_bytes(data)
    aligned(OUT / "aligned.gguf")
    split(OUT / "split.gguf")


main()
