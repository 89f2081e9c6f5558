#!/usr/bin/env python3
"""Writes tests/fixtures/bad_hf.bin: folders of Hugging Face, each wrong in one way, with what the reader must say.

A record: u8 length + name, i8 code (lm_code of base.h), u8 length + words that the sentence must contain, u8 length +
what to open in the folder ("": the folder), u8 number of files, each u8 length + path, u32 length + bytes.
Code 0: unusual but sound, the containers must open.  usage: tools/make_bad_hf.py
"""
import io, json, os, pickle, struct, sys, zipfile
from collections import OrderedDict

EIO, EFORMAT, EUNSUPPORTED, ELIMIT = -2, -3, -4, -6
CONFIG = {"config.json": b'{"architectures": ["LlamaForCausalLM"]}'}
INDEX, BIN_INDEX = "model.safetensors.index.json", "pytorch_model.bin.index.json"
cases = []


def case(name, code, says, files, path="", config=True):
    files = {k: v.encode() if isinstance(v, str) else v for k, v in files.items()}
    cases.append((name, code, says, path, {**(CONFIG if config else {}), **files}))


# ---- safetensors ----
def t(dtype="F32", shape=(2,), off=(0, 8)):
    return {"dtype": dtype, "shape": list(shape), "data_offsets": list(off)}


def st(header, data=bytes(8), n=None):
    h = header if isinstance(header, bytes) else header.encode() if isinstance(header, str) else json.dumps(header).encode()
    return struct.pack("<Q", len(h) if n is None else n) + h + data


def safe(name, code, says, data): case("safetensors, " + name, code, says, {"model.safetensors": data})
def entry(text): return '{"a":' + text + "}"


def safetensors():
    good = {"a": t()}
    safe("sound", 0, "", st(good))
    safe("spaces behind the header", 0, "", st(json.dumps(good) + "      "))
    safe("fields in another order, and one more", 0, "", st(entry('{"x":[1,{}],"data_offsets":[0,8],"shape":[2],"dtype":"F32"}')))
    safe("escapes in words", 0, "", st(entry('{"d\\u0074ype":"F\\u00332","shape":[2],"data_offsets":[0,8]}')))
    safe("no tensors", 0, "", st("{}", b""))
    safe("empty tensors", 0, "", st({"a": t(shape=(0, 3), off=(0, 0)), "b": t(), "c": t(shape=(0,), off=(8, 8))}))
    safe("tensors backwards", 0, "", st({"a": t(off=(8, 16)), "b": t(off=(0, 8))}, bytes(16)))
    safe("empty file", EFORMAT, "the file is empty", b"")
    safe("seven bytes", EFORMAT, "has 7 bytes, too few", bytes(7))
    safe("eight bytes", EFORMAT, "does not begin with '{'", bytes(8))
    safe("header longer than the file", EFORMAT, "claims a header of 1000 bytes, but ", st(good, n=1000))
    safe("header of 2^64-1", EFORMAT, "claims a header of 18446744073709551615 bytes", st(good, n=2**64 - 1))
    safe("header too short", EFORMAT, "its header, ", st(good, n=20))
    safe("header one short", EFORMAT, "its header, ", st(good, n=len(json.dumps(good)) - 1))
    safe("header into the data", EFORMAT, "tensor a: lies at 0 to 8, but the file has 5 bytes", st(good, n=len(json.dumps(good)) + 3))
    safe("header of one byte", EFORMAT, "does not begin with '{'", st("{", b""))
    safe("an array", EFORMAT, "does not begin with '{'", st("[]", b""))
    safe("no JSON", EFORMAT, "its header, line 1, column 2", st("{x}"))
    safe("a comma at the end", EFORMAT, "its header, ", st('{"a":{"dtype":"F32","shape":[2],"data_offsets":[0,8]},}'))
    safe("two values", EFORMAT, "expected the end of the text", st(json.dumps(good) + "{}"))
    safe("a tensor that is a list", EFORMAT, "expected an object", st('{"a":[]}'))
    safe("a tensor that is null", EFORMAT, "expected an object", st('{"a":null}'))
    safe("deep nesting", EFORMAT, "nested deeper", st(entry('{"x":' + "[" * 500 + "]" * 500 + "}")))
    safe("unfinished nesting", EFORMAT, "nested deeper", st('{"__metadata__":' + '{"a":' * 500))
    safe("unknown dtype", EUNSUPPORTED, 'tensor a: dtype "F7" is none we know', st({"a": t("F7")}))
    safe("dtype of small letters", EUNSUPPORTED, 'dtype "f32"', st({"a": t("f32")}))
    safe("complex", EUNSUPPORTED, 'dtype "C64"', st({"a": t("C64", (1,))}))
    safe("no dtype", EFORMAT, 'tensor a: has no "dtype"', st(entry('{"shape":[2],"data_offsets":[0,8]}')))
    safe("no shape", EFORMAT, 'tensor a: has no "shape"', st(entry('{"dtype":"F32","data_offsets":[0,8]}')))
    safe("no offsets", EFORMAT, 'tensor a: has no "data_offsets"', st(entry('{"dtype":"F32","shape":[2]}')))
    safe("dtype twice", EFORMAT, 'tensor a: has its "dtype" twice',
         st(entry('{"dtype":"F32","dtype":"F32","shape":[2],"data_offsets":[0,8]}')))
    safe("dtype a number", EFORMAT, "expected a string", st(entry('{"dtype":32,"shape":[2],"data_offsets":[0,8]}')))
    safe("shape a number", EFORMAT, "expected an array", st(entry('{"dtype":"F32","shape":2,"data_offsets":[0,8]}')))
    safe("shape of texts", EFORMAT, "its header, ", st(entry('{"dtype":"F32","shape":["2"],"data_offsets":[0,8]}')))
    safe("shape of fractions", EFORMAT, "its header, ", st(entry('{"dtype":"F32","shape":[2.5],"data_offsets":[0,8]}')))
    safe("negative dimension", EFORMAT, "tensor a: its shape holds a number outside", st({"a": t(shape=(-2,))}))
    safe("dimension over 64 bits", EFORMAT, "tensor a: its shape holds a number outside", st({"a": t(shape=(10**30,))}))
    safe("seven dimensions", EFORMAT, "its shape has more than 6 numbers", st({"a": t(shape=(1,) * 7)}))
    safe("2000 dimensions", EFORMAT, "its shape has more than 6 numbers", st({"a": t(shape=(1,) * 2000)}))
    safe("product overflows", EFORMAT, "tensor a: its shape is too large", st({"a": t(shape=(2**32, 2**32))}))
    safe("bits overflow", EFORMAT, "tensor a: its shape is too large", st({"a": t(shape=(2**60,))}))
    safe("product overflows beside a zero", EFORMAT, "tensor a: its shape is too large", st({"a": t(shape=(2**40, 0, 2**40))}))
    safe("half a byte", EFORMAT, "no whole bytes of F4", st({"a": t("F4", (3,), (0, 1))}, bytes(1)))
    safe("four-bit values", 0, "", st({"a": t("F4", (4,), (0, 2))}, bytes(2)))
    safe("one offset", EFORMAT, "its data_offsets has 1 numbers, expected 2", st({"a": t(off=(0,))}))
    safe("three offsets", EFORMAT, "its data_offsets has more than 2 numbers", st({"a": t(off=(0, 8, 9))}))
    safe("negative offset", EFORMAT, "its data_offsets holds a number outside", st({"a": t(off=(-1, 7))}))
    safe("offsets backwards", EFORMAT, "tensor a: lies at 8 to 0", st({"a": t(off=(8, 0))}))
    safe("offset behind the end", EFORMAT, "tensor a: lies at 8 to 16, but the file has 8 bytes", st({"a": t(off=(8, 16))}))
    safe("data cut off", EFORMAT, "tensor a: lies at 0 to 8, but the file has 7 bytes", st(good, bytes(7)))
    safe("huge offsets", EFORMAT, "tensor a: lies at", st({"a": t(off=(2**63 - 10, 2**63 - 2))}))
    safe("size of another shape", EFORMAT, "has 8 bytes, but its shape in F32 needs 12", st({"a": t(shape=(3,))}))
    safe("size of another type", EFORMAT, "has 8 bytes, but its shape in F64 needs 16", st({"a": t("F64")}))
    safe("scalar of 8 bytes", EFORMAT, "needs 4", st({"a": t(shape=())}))
    safe("overlap", EFORMAT, "tensor b: overlaps tensor a", st({"a": t(), "b": t(off=(4, 12))}, bytes(12)))
    safe("the same bytes", EFORMAT, "overlaps tensor", st({"a": t(), "b": t()}))
    safe("a gap", EFORMAT, "tensor b: 4 bytes before it belong to no tensor", st({"a": t(), "b": t(off=(12, 20))}, bytes(20)))
    safe("a gap at the front", EFORMAT, "tensor a: 1 bytes before it belong to no tensor", st({"a": t(off=(1, 9))}, bytes(9)))
    safe("bytes behind the last", EFORMAT, "the last 3 bytes belong to no tensor", st(good, bytes(11)))
    safe("the same name twice", EFORMAT, "tensor a: occurs twice",
         st('{"a":{"dtype":"F32","shape":[2],"data_offsets":[0,8]},"\\u0061":{"dtype":"F32","shape":[2],"data_offsets":[8,16]}}', bytes(16)))
    safe("metadata twice", EFORMAT, '"__metadata__" twice', st('{"__metadata__":{},"__metadata__":{}}', b""))
    safe("no name", EFORMAT, "a tensor's name has 0 bytes", st({"": t()}))
    safe("a long name", EFORMAT, "a tensor's name has 5000 bytes", st({"x" * 5000: t()}))
    safe("NUL in a name", EFORMAT, "a tensor's name has a NUL byte", st('{"a\\u0000b":{"dtype":"F32","shape":[2],"data_offsets":[0,8]}}'))
    safe("control characters", EFORMAT, "\\x1b[2J", st({"\x1b[2J": t(off=(8, 0))}))
    safe("Git LFS", EFORMAT, "Git LFS pointer", b"version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 1\n")
    safe("a web page", EFORMAT, "claims a header of", b"<!DOCTYPE html><html>not found</html>")
    safe("a zip by another name", EFORMAT, "is a zip archive", b"PK\3\4" + bytes(60))


# ---- shards ----
def index(files, shards, listed=None, name=INDEX):
    text = files if isinstance(files, str) else json.dumps({"metadata": {}, "weight_map": files})
    return {name: text, **shards}


def shards():
    one, two = st({"a": t()}), st({"b": t()})
    good = {"a": "1.safetensors", "b": "2.safetensors"}
    both = {"1.safetensors": one, "2.safetensors": two}

    def shard(name, code, says, files, have=both): case("shards, " + name, code, says, index(files, have))
    shard("sound", 0, "", good)
    shard("one that lists not all", 0, "", {"a": "1.safetensors"})
    shard("in a folder below", 0, "", {"a": "sub/1.safetensors"}, {"sub/1.safetensors": one})
    shard("file missing", EFORMAT, "2.safetensors: No such file", good, {"1.safetensors": one})
    shard("a shard is broken", EFORMAT, "2.safetensors: its header", good, {"1.safetensors": one, "2.safetensors": st("{")})
    shard("a shard is empty", EFORMAT, "2.safetensors: the file is empty", good, {"1.safetensors": one, "2.safetensors": b""})
    shard("a tensor is absent", EFORMAT, "tensor c: is not in 2.safetensors, where the index has it", {**good, "c": "2.safetensors"})
    shard("a tensor in the other shard", EFORMAT, "is not in", {"a": "2.safetensors", "b": "1.safetensors"})
    shard("a tensor in two shards", EFORMAT, "tensor a: occurs twice", good, {"1.safetensors": one, "2.safetensors": st({"a": t()})})
    shard("listed twice with two shards", EFORMAT, "tensor a: is not in 2.safetensors",
          '{"weight_map":{"a":"1.safetensors","b":"2.safetensors","a":"2.safetensors"}}')
    for name, path in (("to above", "../1.safetensors"), ("from the root", "/etc/passwd"), ("to above, within", "sub/../../1.safetensors"),
                       ("to itself", "./1.safetensors"), ("to nothing", ""), ("to a folder", "sub/"), ("to above alone", ".."),
                       ("with two slashes", "sub//1.safetensors")):
        shard("a path " + name, EFORMAT, f'tensor b: its file "{path}" is not inside the folder', {"a": "1.safetensors", "b": path})
    shard("a path with a NUL", EFORMAT, "a file's name has a NUL byte", {"a": "1.safe\0tensors"})
    shard("a name with a NUL", EFORMAT, "a tensor's name has a NUL byte", {"a\0": "1.safetensors"})
    shard("a path to a folder that is there", EFORMAT, "sub: is a directory", {"a": "sub"}, {"sub/x": b"x"})
    shard("a path that is too long", EFORMAT, "File name too long", {"a": "x" * 3000})
    shard("no JSON", EFORMAT, "index.json: line 1", "{")
    shard("no map", EFORMAT, 'has no "weight_map"', '{"metadata":{}}')
    shard("an empty map", EFORMAT, 'has no "weight_map"', {})
    shard("a map that is a list", EFORMAT, "expected an object", '{"weight_map":[]}')
    shard("a list", EFORMAT, "expected an object", "[]")
    shard("a file that is a number", EFORMAT, "expected a string", {"a": 1})
    shard("an empty index", EFORMAT, "the file is empty", "")


# ---- the folder ----
def folder():
    good = {"model.safetensors": st({"a": t()})}
    for name, code, says, text in (
            ("empty config", EFORMAT, "config.json: JSON is not valid", ""), ("a config of bytes", EFORMAT, "config.json", b"\xff\xfe\0"),
            ("a config cut off", EFORMAT, "config.json: JSON is not valid", '{"architectures": ['),
            ("a config that is a list", EFORMAT, "config.json: is an array, expected an object", "[]"),
            ("a config that nests", EFORMAT, "nested deeper", '{"a":' * 2000 + "1" + "}" * 2000),
            ("a number too large", EFORMAT, "config.json", '{"a":1e999}')):
        case("folder, " + name, code, says, {"config.json": text, **good}, config=False)
    case("folder, no weights", EUNSUPPORTED, "holds no weights", {})
    case("folder, weights of other names", EUNSUPPORTED, "holds no weights", {"weights.safetensors": good["model.safetensors"]})
    case("folder, no config beside a file", EIO, "config.json: No such file", good, path="model.safetensors", config=False)


# ---- pickles ----
def zipped(files, method=zipfile.ZIP_STORED):
    b = io.BytesIO()
    with zipfile.ZipFile(b, "w", method) as z:
        for name, data in files.items():
            z.writestr(zipfile.ZipInfo(name), data, compress_type=method)
    return b.getvalue()


def archive(pkl, data=None): return zipped({"archive/data.pkl": pkl, **{"archive/data/" + k: v for k, v in (data or {"0": bytes(32)}).items()}})
def g(module, name): return b"c" + module.encode() + b"\n" + name.encode() + b"\n"
def uni(s): return b"X" + struct.pack("<I", len(s.encode())) + s.encode()


def num(v):
    n = (v.bit_length() + 8) // 8
    return b"\x8a" + bytes([n]) + v.to_bytes(n, "little", signed=True)


def tup(*v): return b"(" + b"".join(v) + b"t"
def ints(*v): return tup(*map(num, v))


def storage(kind="FloatStorage", key="0", count=8, module="torch", word="storage", more=()):
    return tup(uni(word), g(module, kind), uni(key), uni("cpu"), num(count), *more) + b"Q"


def tensor(store=None, off=0, shape=(2, 2), stride=(2, 1), call="_rebuild_tensor_v2", more=(b"\x89", b"N")):
    store = storage() if store is None else store
    return g("torch._utils", call) + tup(store, num(off), ints(*shape), ints(*stride), *more) + b"R"


def state(*items): return b"\x80\x02}(" + b"".join(uni(k) + v for k, v in items) + b"u."
def one(v): return state(("w", v))


def pickles():
    def torch(name, code, says, pkl, data=None):
        case("torch, " + name, code, says, {"pytorch_model.bin": archive(pkl, data)})

    torch("sound", 0, "", one(tensor()))
    torch("a parameter", 0, "", one(g("torch._utils", "_rebuild_parameter") + tup(tensor(), b"\x88", b"N") + b"R"))
    torch("pairs of Python 2", 0, "", b"\x80\x02" + g("collections", "OrderedDict") + b"]](U\x01w" + tensor() + b"ea\x85R.")
    torch("a loop", 0, "", b"\x80\x02}q\x00(" + uni("state_dict") + b"}(" + uni("w") + tensor() + uni("me") + b"h\x00uu.")
    for name, module, attr in (("os.system", "os", "system"), ("posix.system", "posix", "system"), ("eval", "builtins", "eval"),
                               ("a numpy scalar", "numpy.core.multiarray", "scalar"), ("argparse", "argparse", "Namespace"),
                               ("a loader", "torch.storage", "_load_from_bytes"), ("a quantised tensor", "torch._utils", "_rebuild_qtensor"),
                               ("a sparse tensor", "torch._utils", "_rebuild_sparse_tensor"), ("a module", "torch.nn.modules.linear", "Linear"),
                               ("complex storage", "torch", "ComplexFloatStorage")):
        torch("global: " + name, EUNSUPPORTED, f"its pickle asks for {module}.{attr}, which no state dict", b"\x80\x02" + g(module, attr) + uni("id") + b"\x85R.")
    torch("global by stack", EUNSUPPORTED, "asks for os.system", b"\x80\x04\x8c\x02os\x8c\x06system\x93\x8c\x02id\x85R.")
    torch("a real exploit", EUNSUPPORTED, "asks for posix.system", pickle.dumps(Exploit(), 2))
    torch("global with a newline less", EFORMAT, "ends in the opcode GLOBAL", b"\x80\x02cos")
    torch("calls a storage", EUNSUPPORTED, "its pickle calls torch.FloatStorage", b"\x80\x02" + g("torch", "FloatStorage") + b")R.")
    torch("calls a number", EFORMAT, "malformed at byte", b"\x80\x02K\x01)R.")
    torch("calls with a list", EFORMAT, "malformed at byte", b"\x80\x02" + g("collections", "OrderedDict") + b"]R.")
    for op, name in ((b"i", "INST"), (b"o", "OBJ"), (b"\x81", "NEWOBJ"), (b"\x92", "NEWOBJ_EX"), (b"\x82", "EXT1"), (b"P", "PERSID"),
                     (b"S", "STRING"), (b"I", "INT"), (b"0", "POP"), (b"2", "DUP"), (b"\x8f", "EMPTY_SET"), (b"\x96", "BYTEARRAY8"),
                     (b"d", "DICT"), (b"\x97", "NEXT_BUFFER")):
        torch("opcode " + name, EUNSUPPORTED, f"has the opcode {name}, which no state dict", b"\x80\x02N" + op + b"1\n1\n.")
    torch("no opcode", EFORMAT, "has the byte 0xff where an opcode was expected", b"\x80\x02\xff.")
    torch("protocol 6", EUNSUPPORTED, "its pickle has protocol 6", b"\x80\x06N.")
    torch("no STOP", EFORMAT, "ends before its STOP", b"\x80\x02N")
    torch("an empty pickle", EFORMAT, "ends before its STOP", b"")
    torch("STOP alone", EFORMAT, "the stack is empty", b".")
    for name, pkl in (("SETITEMS without a mark", b"}u"), ("SETITEMS of a key", b"}(Nu"), ("SETITEMS into a list", b"](NNu"),
                      ("SETITEM into nothing", b"NNs"), ("APPENDS into a dict", b"}(Ne"), ("APPEND to nothing", b"Na"),
                      ("TUPLE without a mark", b"Nt"), ("TUPLE2 of one", b"N\x86"), ("TUPLE1 below a mark", b"N(\x85"),
                      ("BINGET of nothing", b"h\0"), ("LONG_BINGET of nothing", b"j\xff\xff\xff\xff"), ("BINPUT of nothing", b"q\0"),
                      ("LONG_BINPUT far off", b"Nr\xff\xff\xff\xff"), ("LONG_BINPUT a bit far off", b"Nr\0\0\1\0"),
                      ("BUILD of a list", b"]}b"), ("BUILD of nothing", b"}b"), ("BINPERSID of a text", uni("0") + b"Q"),
                      ("STACK_GLOBAL of numbers", b"K\1K\2\x93"), ("OrderedDict of a number", g("collections", "OrderedDict") + b"K\1\x85R"),
                      ("OrderedDict of numbers", g("collections", "OrderedDict") + b"](K\1e\x85R"),
                      ("a parameter of nothing", g("torch._utils", "_rebuild_parameter") + b")R")):
        torch(name, EFORMAT, "its pickle is malformed at byte", b"\x80\x02" + pkl + b".")
    for name, pkl in (("BINUNICODE", b"X\xff\xff\xff\x7fab"), ("SHORT_BINUNICODE", b"\x8c\x10ab"), ("BINUNICODE8", b"\x8d" + b"\xff" * 8),
                      ("BINBYTES", b"B\xff\xff\xff\xff"), ("LONG1", b"\x8a\xff\1"), ("LONG4", b"\x8b\xff\xff\xff\xff"), ("BININT", b"J\0"),
                      ("BINFLOAT", b"G\0"), ("FRAME", b"\x95\0"), ("BINPUT", b"Nq")):
        torch("cut in " + name, EFORMAT, "its pickle ends in the opcode " + name, b"\x80\x04" + pkl)
    torch("nothing but a number", EUNSUPPORTED, "holds no state dict", b"\x80\x02K\1.")
    torch("an empty dict", EUNSUPPORTED, "holds no state dict", b"\x80\x02}.")
    torch("a list of tensors", EUNSUPPORTED, "holds no state dict", b"\x80\x02](" + tensor() + b"e.")
    torch("two dicts of tensors", EUNSUPPORTED, "holds no state dict",
          state(("x", b"}" + uni("a") + tensor() + b"s"), ("y", b"}" + uni("b") + tensor() + b"s")))
    torch("numbers for names", EFORMAT, "tensor number 1 has no name", b"\x80\x02}K\1" + tensor() + b"s.")
    torch("an empty name", EFORMAT, "tensor number 1 has no name", state(("", tensor())))
    torch("a long name", EFORMAT, "tensor number 1 has no name", state(("x" * 2000, tensor())))
    torch("NUL in a name", EFORMAT, "tensor number 1 has no name", state(("a\0", tensor())))
    torch("the same name twice", EFORMAT, "tensor w: occurs twice", state(("w", tensor()), ("w", tensor())))
    torch("the same name of the memo", EFORMAT, "tensor w: occurs twice",
          b"\x80\x02}(" + uni("w") + b"q\0" + tensor() + b"h\0" + tensor() + b"u.")

    def bad(name, code, says, value, data=None): torch(name, code, "tensor w: " + says, one(value), data)
    bad("storage missing", EFORMAT, "its storage 7 is not in the file", tensor(storage(key="7")))
    bad("storage with a path", EFORMAT, "its storage ../data.pkl is not in the file", tensor(storage(key="../data.pkl")))
    bad("storage too small", EFORMAT, "its storage should have 9 values of F32, but has 32 bytes", tensor(storage(count=9)))
    bad("storage of a negative count", EFORMAT, "its storage should have -1 values", tensor(storage(count=-1)))
    bad("storage of a huge count", EFORMAT, "its storage should have", tensor(storage(count=2**62)))
    bad("storage of another sort", EFORMAT, "its storage is not described", tensor(storage(word="storags")))
    bad("storage that is a view", EUNSUPPORTED, "its storage is a part of another", tensor(storage(more=(ints(0, 1),))))
    bad("storage that is a dtype", EFORMAT, "torch.float32 is no storage", tensor(storage("float32")))
    bad("storage that is a tuple", EFORMAT, "its storage is not described", tensor(ints(1)))
    bad("untyped storage", EFORMAT, "has no dtype", tensor(storage("UntypedStorage", module="torch.storage")))
    bad("v3 without a dtype", EFORMAT, "has no dtype", tensor(storage("UntypedStorage", module="torch.storage"), call="_rebuild_tensor_v3"))
    torch("v3", 0, "", one(tensor(storage("UntypedStorage", module="torch.storage"), call="_rebuild_tensor_v3", more=(b"\x89", b"N", g("torch", "float16")))))
    bad("offset behind the storage", EFORMAT, "needs 16 bytes from value 5 on of a storage that has 32", tensor(off=5))
    bad("offset at the end", EFORMAT, "needs 16 bytes from value 8 on", tensor(off=8))
    bad("offset of 2^62", EFORMAT, "needs 16 bytes from value 4611686018427387904", tensor(off=2**62))
    bad("negative offset", EFORMAT, "is not described", tensor(off=-1))
    bad("shape too large", EFORMAT, "needs 400 bytes", tensor(shape=(10, 10), stride=(10, 1)))
    bad("shape overflows", EFORMAT, "its shape is too large", tensor(shape=(2**40, 2**40), stride=(2**40, 1)))
    bad("negative dimension", EFORMAT, "its shape is not one", tensor(shape=(-1, 2)))
    bad("seven dimensions", EUNSUPPORTED, "has 7 dimensions", tensor(shape=(1,) * 7, stride=(1,) * 7))
    bad("strides missing", EFORMAT, "is not described", tensor(stride=(2,)))
    bad("transposed", EUNSUPPORTED, "its values do not lie in the order of its rows (stride 2 of dimension 1, expected 1)", tensor(stride=(1, 2)))
    bad("expanded", EUNSUPPORTED, "its values do not lie in the order of its rows (stride 0 of dimension 0, expected 2)", tensor(stride=(0, 1)))
    bad("no arguments", EFORMAT, "is not described", g("torch._utils", "_rebuild_tensor_v2") + b")R")
    bad("shape of texts", EFORMAT, "its shape is not one", g("torch._utils", "_rebuild_tensor_v2") + tup(storage(), num(0), tup(uni("2")), ints(1), b"\x89", b"N") + b"R")


class Exploit:
    def __reduce__(self): return os.system, ("echo harm",)


# ---- archives ----
def zips():
    def arch(name, code, says, data): case("zip, " + name, code, says, {"pytorch_model.bin": data})
    good, pkl = archive(one(tensor())), one(tensor())
    end = good.rindex(b"PK\5\6")
    central = good.index(b"PK\1\2")

    def patch(at, value): return good[:at] + value + good[at + len(value):]
    arch("sound", 0, "", good)
    arch("with a comment", 0, "", good[:end + 20] + b"\x05\0hello")
    arch("cut off", EFORMAT, "without its end", good[:-30])
    arch("half", EFORMAT, "without its end", good[:len(good) // 2])
    arch("four bytes", EFORMAT, "has 4 bytes, too few", good[:4])
    arch("no data.pkl", EFORMAT, "without data.pkl", zipped({"archive/data/0": bytes(8)}))
    arch("data.pkl at the top", EFORMAT, "without data.pkl", zipped({"data.pkl": pkl}))
    arch("no entries", EFORMAT, "is not a PyTorch checkpoint", zipped({}))
    arch("data.pkl twice", EFORMAT, "zip entry b/data.pkl: occurs twice", zipped({"a/data.pkl": pkl, "b/data.pkl": pkl}))
    arch("storage twice", EFORMAT, "storage 0: occurs twice", zipped({"a/data.pkl": pkl, "a/data/0": bytes(32), "b/data/0": bytes(32)}))
    arch("compressed", EUNSUPPORTED, "is compressed", zipped({"a/data.pkl": pkl * 9, "a/data/0": bytes(32)}, zipfile.ZIP_DEFLATED))
    arch("big-endian", EUNSUPPORTED, "not little-endian", zipped({"a/data.pkl": pkl, "a/byteorder": b"big", "a/data/0": bytes(32)}))
    arch("little-endian", 0, "", zipped({"a/data.pkl": pkl, "a/byteorder": b"little", "a/data/0": bytes(32)}))
    arch("table behind the end", EFORMAT, "table of 2 entries goes past its end", patch(end + 16, struct.pack("<I", len(good))))
    arch("table too large", EFORMAT, "goes past its end", patch(end + 12, struct.pack("<I", len(good))))
    arch("too many entries", EFORMAT, "table of 65535 entries goes past its end", patch(end + 10, b"\xff\xff"))
    arch("one entry more", EFORMAT, "table of 3 entries goes past", patch(end + 10, b"\3\0"))
    arch("table elsewhere", EFORMAT, "broken table", patch(end + 16, struct.pack("<I", central - 1)))
    arch("name too long", EFORMAT, "broken table", patch(central + 28, b"\xff\xff"))
    arch("entry behind the end", EFORMAT, "is not where the table has it", patch(central + 42, struct.pack("<I", len(good) - 3)))
    arch("entry elsewhere", EFORMAT, "is not where the table has it", patch(central + 42, struct.pack("<I", 1)))
    arch("size too large", EFORMAT, "goes past the end of the file", patch(central + 20, struct.pack("<II", 9999, 9999)))
    arch("sizes that differ", EUNSUPPORTED, "is compressed", patch(central + 20, struct.pack("<I", 9)))
    arch("64-bit end far off", EFORMAT, "64-bit end is not where it should be", good[:end] + b"PK\6\7" + struct.pack("<IQI", 0, 2**63, 1) + good[end:])
    arch("64-bit end of something else", EFORMAT, "64-bit end is not where it should be", good[:end] + b"PK\6\7" + struct.pack("<IQI", 0, 0, 1) + good[end:])
    arch("a text", EFORMAT, "neither a zip archive nor a pickle", b"hello, world, this is no checkpoint at all")
    arch("a pickle by itself", EUNSUPPORTED, "not one that torch.save wrote", pickle.dumps({"a": 1}, 2))
    arch("a safetensors file by another name", 0, "", st({"a": t()}))
    case("zip, shards", 0, "", index({"w": "1.bin"}, {"1.bin": good}, name=BIN_INDEX))
    case("zip, a shard outside", EFORMAT, 'its file "../1.bin" is not inside', index({"w": "../1.bin"}, {"1.bin": good}, name=BIN_INDEX))


# ---- before 1.6 ----
def legacy(pkl=None, keys=("0",), stores=None, version=1001, system=b"}X\x0d\0\0\0little_endian\x88s.", magic=0x1950a86a20f9469cfc6c):
    out = b"\x80\x02" + num(magic) + b"." + b"\x80\x02" + num(version) + b"." + b"\x80\x02" + system
    out += one(tensor(storage(more=(b"N",)))) if pkl is None else pkl
    out += b"\x80\x02](" + b"".join(uni(k) for k in keys) + b"e."
    return out + (struct.pack("<Q", 8) + bytes(32) if stores is None else stores)


def old():
    def stream(name, code, says, data): case("before 1.6, " + name, code, says, {"pytorch_model.bin": data})
    stream("sound", 0, "", legacy())
    stream("another version", EUNSUPPORTED, "protocol 1001", legacy(version=1000))
    stream("another magic", EUNSUPPORTED, "not one that torch.save wrote", legacy(magic=0x1950a86a20f9469cfc6d))
    stream("big-endian", EUNSUPPORTED, "not little-endian", legacy(system=b"}X\x0d\0\0\0little_endian\x89s."))
    stream("no system", EUNSUPPORTED, "protocol 1001", legacy(system=b"N."))
    stream("a foreign global", EUNSUPPORTED, "asks for os.system", legacy(pkl=b"\x80\x02" + g("os", "system") + b")R."))
    stream("a storage not listed", EFORMAT, "tensor w: its storage 0 is not in the file", legacy(keys=()))
    stream("a storage listed for none", EFORMAT, "storage number 2: no tensor has its key", legacy(keys=("0", "1")))
    stream("a storage listed twice", EFORMAT, "storage 0: occurs twice", legacy(keys=("0", "0"), stores=(struct.pack("<Q", 8) + bytes(32)) * 2))
    stream("no storages", EFORMAT, "ends before storage number 1", legacy(stores=b""))
    stream("a storage cut off", EFORMAT, "storage number 1: 8 values go past the end", legacy(stores=struct.pack("<Q", 8) + bytes(31)))
    stream("a storage of 2^63 values", EFORMAT, "values go past the end", legacy(stores=struct.pack("<Q", 2**63) + bytes(32)))
    stream("a storage too small", EFORMAT, "its storage should have 8 values", legacy(stores=struct.pack("<Q", 7) + bytes(28)))
    stream("the magic alone", EFORMAT, "its pickle ends before its STOP", legacy()[:15])
    stream("cut in the object", EFORMAT, "its pickle ends", legacy()[:120])


# ---- what would be slow or large ----
def costly():
    nest = b"}" + uni("a") + tensor() + b"s"
    case("torch, a dict in dicts", EUNSUPPORTED, "holds no state dict",
         {"pytorch_model.bin": archive(b"\x80\x02" + (b"}" + uni("model")) * 2000 + nest + b"s" * 2000 + b".")})
    pairs = b"]q\0(" + b"](NNe" * 2000 + b"e"
    calls = (g("collections", "OrderedDict") + b"h\0\x85R") * 300
    case("torch, a list copied often", EUNSUPPORTED, "holds no state dict", {"pytorch_model.bin": archive(b"\x80\x02" + pairs + calls + b".")})
    case("torch, marks", EFORMAT, "its pickle ends", {"pytorch_model.bin": archive(b"\x80\x02" + b"(" * 9000)})


def main():
    safetensors()
    shards()
    folder()
    pickles()
    zips()
    old()
    costly()
    with open(os.path.join(os.path.dirname(os.path.abspath(__file__)), "../tests/fixtures/bad_hf.bin"), "wb") as f:
        for name, code, says, path, files in cases:
            for text in (name, says, path):
                assert len(text.encode()) < 256, text
            f.write(bytes([len(name.encode())]) + name.encode() + struct.pack("b", code) + bytes([len(says.encode())]) + says.encode())
            f.write(bytes([len(path)]) + path.encode() + bytes([len(files)]))
            for k, v in files.items():
                f.write(bytes([len(k)]) + k.encode() + struct.pack("<I", len(v)) + v)
    print(len(cases), "cases", file=sys.stderr)


main()
