#!/usr/bin/env python3
"""Containers as the safetensors and torch packages write them, and what those read back: tests/fixtures/raw/.
python3 tools/gold_raw.py   (needs torch, safetensors; after make_tiny.py)

raw.gold: for each case a line "= PATH", then per tensor "NAME DTYPE SHAPE BYTES": names as JSON, dtypes in the words of
safetensors, a shape as 2x3 ("-" for a scalar), bytes in hex ("-" for none)."""
import io, json, os, pickle, shutil, struct, zipfile
from collections import OrderedDict
import torch
from safetensors import safe_open
from safetensors.torch import save_file

ROOT = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
OUT = os.path.join(ROOT, "tests/fixtures/raw")
NAMES = {torch.float64: "F64", torch.float32: "F32", torch.float16: "F16", torch.bfloat16: "BF16", torch.int64: "I64",
         torch.int32: "I32", torch.int16: "I16", torch.int8: "I8", torch.uint8: "U8", torch.uint16: "U16",
         torch.uint32: "U32", torch.uint64: "U64", torch.bool: "BOOL", torch.float8_e4m3fn: "F8_E4M3",
         torch.float8_e5m2: "F8_E5M2", torch.float8_e8m0fnu: "F8_E8M0"}


def tensor(dtype, *shape):
    n = 1
    for d in shape:
        n *= d
    data = bytes((37 * i + 11 * n) % 251 for i in range(n * dtype.itemsize))
    if dtype == torch.bool:
        data = bytes(b & 1 for b in data)
    return (torch.frombuffer(bytearray(data), dtype=dtype) if n else torch.empty(0, dtype=dtype)).reshape(shape)


def every_type():
    shapes = [(), (1,), (3,), (2, 3), (4, 1, 2), (0, 3), (1, 2, 1, 2), (2, 1, 2, 1, 2)]
    out = {f"all.{name}": tensor(t, *shapes[i % len(shapes)]) for i, (t, name) in enumerate(NAMES.items())}
    out['h.0.é"\\x/'] = tensor(torch.float32, 2, 2)
    return out


def views():
    """Tensors that share storages, as tied and fused weights do."""
    base = tensor(torch.float32, 6, 4)
    return OrderedDict([("whole", base), ("rows", base[2:5]), ("last", base[5]), ("again", base), ("one", base[3, 2]),
                        ("column", base[:, :1][2:3]), ("half", tensor(torch.float16, 8)[2:6].view(2, 2))])


def lines(case, tensors):
    yield "= " + case
    for name, t in tensors.items():
        t = t.detach().contiguous()
        data = t.view(torch.uint8).numpy().tobytes() if t.dim() else t.reshape(1).view(torch.uint8).numpy().tobytes()
        shape = "x".join(map(str, t.shape)) if t.dim() else "-"
        yield f"{json.dumps(name, ensure_ascii=False)} {NAMES[t.dtype]} {shape} {data.hex() or '-'}"


def path(*parts):
    p = os.path.join(OUT, *parts)
    os.makedirs(os.path.dirname(p), exist_ok=True)
    return p


def read_safetensors(file):
    with safe_open(file, "pt") as f:
        return {k: f.get_tensor(k) for k in f.keys()}


def safe(gold):
    save_file(every_type(), path("safe/model.safetensors"), metadata={"format": "pt", "note": "a \"quoted\" one"})
    gold += lines("safe", read_safetensors(path("safe/model.safetensors")))
    gold += lines("safe/model.safetensors", read_safetensors(path("safe/model.safetensors")))
    save_file({}, path("none.safetensors"))
    gold += lines("none.safetensors", {})
    all = {f"model.layers.{i}.weight": tensor(torch.bfloat16, i + 1, 3) for i in range(5)}
    shard = lambda i: f"model-{i % 2 + 1:05}-of-00002.safetensors"
    for k in range(2):
        save_file({n: t for i, (n, t) in enumerate(all.items()) if i % 2 == k}, path("shards", shard(k)))
    index = {"metadata": {"total_size": 90}, "weight_map": {n: shard(i) for i, n in enumerate(all)}}
    with open(path("shards/model.safetensors.index.json"), "w") as f:
        json.dump(index, f, indent=2)
    gold += lines("shards", all)


def torch_case(gold, name, what, get=lambda x: x, **how):
    torch.save(what, path(name), **how)
    read = get(torch.load(path(name), weights_only=False))
    gold += lines(name, {k: v for k, v in read.items() if isinstance(v, torch.Tensor)})


def torches(gold):
    new = every_type()
    torch_case(gold, "torch/pytorch_model.bin", OrderedDict(new))
    gold += lines("torch", new)
    torch_case(gold, "views.pt", views())
    torch_case(gold, "protocol4.pt", views(), pickle_protocol=4)
    old = {k: v for k, v in new.items() if v.dtype not in (torch.uint16, torch.uint32, torch.uint64) and "F8" not in NAMES[v.dtype]}
    torch_case(gold, "legacy.bin", OrderedDict(old), _use_new_zipfile_serialization=False)
    torch_case(gold, "legacy_views.bin", views(), _use_new_zipfile_serialization=False)
    nested = {"epoch": 3, "loss": 0.25, "name": "x", "none": None, "list": [1, (2, True)], "big": 1 << 70, "neg": -5,
              "optimizer": {"state": {0: {"m": tensor(torch.float32, 2)}}}, "state_dict": OrderedDict(views())}
    torch_case(gold, "nested.pt", nested, lambda x: x["state_dict"])
    torch_case(gold, "model.pt", {"model": {"model": dict(views())}, "args": {"lr": 1e-3}}, lambda x: x["model"]["model"])
    torch_case(gold, "only.pth", {"step": 1, "weights": dict(views())}, lambda x: x["weights"])
    layer = torch.nn.Sequential(torch.nn.Linear(3, 2), torch.nn.LayerNorm(2))
    with torch.no_grad():
        for i, p in enumerate(layer.parameters()):
            p.copy_(tensor(torch.float32, *p.shape))
    torch_case(gold, "module.pt", layer.state_dict())                          # with _metadata
    torch_case(gold, "params.pt", dict(layer.named_parameters()))              # nn.Parameter, requires grad
    all = {f"encoder.layer.{i}.weight": tensor(torch.float16, i + 1, 2) for i in range(4)}
    shard = lambda i: f"pytorch_model-{i % 2 + 1:05}-of-00002.bin"
    for k in range(2):
        torch.save({n: t for i, (n, t) in enumerate(all.items()) if i % 2 == k}, path("torch_shards", shard(k)))
    with open(path("torch_shards/pytorch_model.bin.index.json"), "w") as f:
        json.dump({"weight_map": {n: shard(i) for i, n in enumerate(all)}}, f)
    gold += lines("torch_shards", all)


def zip64(gold):
    """The same archive with 64-bit sizes and offsets throughout, as for files over 4 GiB."""
    want = views()
    buf = io.BytesIO()
    torch.save(want, buf)
    src, body, table = zipfile.ZipFile(buf), b"", b""
    for e in src.infolist():
        name, data = e.filename.encode(), src.read(e)
        extra = struct.pack("<HHQQ", 1, 16, len(data), len(data))
        head = struct.pack("<HHHHHII I", 45, 0, 0, 0, 0, e.CRC, 0xffffffff, 0xffffffff)
        at = len(body)
        body += b"PK\3\4" + head + struct.pack("<HH", len(name), len(extra)) + name + extra + data
        extra = struct.pack("<HHI", 0x4246, 4, 0) + struct.pack("<HHQQQ", 1, 24, len(data), len(data), at)
        table += b"PK\1\2" + struct.pack("<H", 45) + head + struct.pack("<HHHHHII", len(name), len(extra), 0, 0, 0, 0, 0xffffffff) + name + extra
    n = len(src.infolist())
    end = struct.pack("<4sQHHIIQQQQ", b"PK\6\6", 44, 45, 45, 0, 0, n, n, len(table), len(body))
    locator = struct.pack("<4sIQI", b"PK\6\7", 0, len(body) + len(table), 1)
    tail = struct.pack("<4sHHHHIIH", b"PK\5\6", 0, 0, 0xffff, 0xffff, 0xffffffff, 0xffffffff, 7) + b"comment"
    with open(path("zip64.pt"), "wb") as f:
        f.write(body + table + end + locator + tail)
    gold += lines("zip64.pt", torch.load(path("zip64.pt"), weights_only=False))


def models():
    """One tiny model (tools/make_tiny.py) in every container: tests/fixtures/raw/model/NAME/."""
    src = os.path.join(ROOT, "tests/model/hf/llama-bias")
    all = read_safetensors(os.path.join(src, "model.safetensors"))
    def at(name, file):
        os.makedirs(os.path.dirname(path("model", name, file)), exist_ok=True)
        shutil.copy(os.path.join(src, "config.json"), path("model", name))
        return path("model", name, file)
    torch.save(all, at("bin", "pytorch_model.bin"))
    torch.save({"model": all}, at("legacy", "pytorch_model.bin"), _use_new_zipfile_serialization=False)
    shard = lambda i: f"model-{i % 3 + 1:05}-of-00003.safetensors"
    for k in range(3):
        save_file({n: t for i, (n, t) in enumerate(all.items()) if i % 3 == k}, at("shards", shard(k)))
    with open(at("shards", "model.safetensors.index.json"), "w") as f:
        json.dump({"weight_map": {n: shard(i) for i, n in enumerate(all)}}, f)


def main():
    shutil.rmtree(OUT, ignore_errors=True)
    models()
    gold = []
    safe(gold)
    torches(gold)
    zip64(gold)
    with open(path("raw.gold"), "w", encoding="utf-8") as f:
        f.write("\n".join(gold) + "\n")
    for folder, _, files in os.walk(OUT):
        for file in files:
            os.chmod(os.path.join(folder, file), 0o644)


main()
