#!/usr/bin/env python3
"""Writes tests/fixtures/bad_gguf.bin: small GGUF files, each wrong in one way, with what the reader must say.

A record: u8 length + name, i8 code (lm_code of base.h), u8 length + words that the sentence must contain,
u16 length + the file.  Code 0: unusual but sound, must open.  usage: tools/make_bad_gguf.py
"""
import struct

U8, I8, U16, I16, U32, I32, F32, BOOL, STR, ARR, U64, I64, F64 = range(13)
EFORMAT, EUNSUPPORTED, ELIMIT = -3, -4, -6
F32T, F16T, Q4_0, Q4_1, Q8_0, Q4_K = 0, 1, 2, 3, 8, 12
PACK = {U8: "B", I8: "b", U16: "H", I16: "h", U32: "I", I32: "i", F32: "f", BOOL: "B", U64: "Q", I64: "q", F64: "d"}
cases = []


def u32(v): return struct.pack("<I", v)
def u64(v): return struct.pack("<Q", v)


def s(v, n=None):
    """A string; n: the length it claims."""
    v = v.encode() if isinstance(v, str) else v
    return u64(len(v) if n is None else n) + v


def kv(name, kind, value):
    body = s(value) if kind == STR else struct.pack("<" + PACK[kind], value) if kind in PACK else value
    return s(name) + u32(kind) + body


def arr(elem, n, body): return u32(elem) + u64(n) + body
def strs(*v): return arr(STR, len(v), b"".join(s(x) for x in v))


def tensor(name, dims, kind=F32T, off=0, n_dims=None):
    return (s(name) + u32(len(dims) if n_dims is None else n_dims) + b"".join(u64(d) for d in dims) + u32(kind)
            + u64(off))


def gguf(kvs=(), tensors=(), data=b"", version=3, n_kv=None, n_t=None, magic=b"GGUF", align=32, pad=True):
    head = (magic + u32(version) + u64(len(tensors) if n_t is None else n_t) + u64(len(kvs) if n_kv is None else n_kv)
            + b"".join(kvs) + b"".join(tensors))
    return head + (bytes(-len(head) % align) if pad else b"") + data


def case(name, code, says, data):
    assert len(data) < 65536 and len(says) < 256
    cases.append((name, code, says, data))


ARCH = kv("general.architecture", STR, "tiny")


def bad_kv(name, code, says, *kvs, **more): case("kv-" + name, code, says, gguf([ARCH, *kvs], **more))


def bad_t(name, code, says, *tensors, data=bytes(256), kvs=(), **more):
    case("tensor-" + name, code, says, gguf([ARCH, *kvs], tensors, data, **more))


def head():
    case("empty-1", EFORMAT, "1 bytes", b"G")
    case("short-magic", EFORMAT, "too few", b"GGU")
    case("magic-only", EFORMAT, "ends in its head", b"GGUF")
    case("no-counts", EFORMAT, "ends in its head", b"GGUF" + u32(3))
    case("one-count", EFORMAT, "ends in its head", b"GGUF" + u32(3) + u64(0))
    case("cut-count", EFORMAT, "ends in its head", b"GGUF" + u32(3) + u64(0) + bytes(7))
    case("magic-lower", EFORMAT, 'expected the magic "GGUF"', gguf([ARCH], magic=b"gguf"))
    case("magic-zero", EFORMAT, "00 00 00 00", bytes(64))
    case("magic-ff", EFORMAT, "ff ff ff ff", b"\xff" * 64)
    case("magic-ggml", EFORMAT, "GGML", b"lmgg" + bytes(60))
    case("magic-ggjt", EFORMAT, "GGJT", b"tjgg" + u32(3) + bytes(60))
    case("magic-ggmf", EFORMAT, "GGMF", b"fmgg" + u32(1) + bytes(60))
    case("magic-swapped", EFORMAT, "little-endian", b"FUGG" + bytes(60))
    case("safetensors", EFORMAT, "safetensors", u64(20) + b'{"a":{"dtype":"F32"}')
    case("zip", EFORMAT, "zip", b"PK\3\4" + bytes(60))
    case("lfs-pointer", EFORMAT, "Git LFS", b"version https://git-lfs.github.com/spec/v1\noid sha256:00\n")
    case("web-page", EFORMAT, "text file", b"<!DOCTYPE html><html>404</html>")
    case("version-0", EFORMAT, "version 0", gguf([ARCH], version=0))
    case("version-1", EUNSUPPORTED, "version 1", gguf([ARCH], version=1))
    case("version-4", EUNSUPPORTED, "version 4", gguf([ARCH], version=4))
    case("version-max", EUNSUPPORTED, "version 4294967295", gguf([ARCH], version=2**32 - 1))
    for v in (2, 3):
        case(f"big-endian-{v}", EUNSUPPORTED, "big-endian",
             b"GGUF" + struct.pack(">IQQ", v, 0, 1) + struct.pack(">Q", 1) + b"a" + struct.pack(">IB", U8, 1))
    for n, tag in ((2**64 - 1, "max"), (2**63, "sign"), (2**32, "2^32"), (1000, "1000")):
        case("n-keys-" + tag, EFORMAT, f"claims {n} keys", gguf([ARCH], n_kv=n))
        case("n-tensors-" + tag, EFORMAT, f"claims {n} tensors", gguf([ARCH], n_t=n))
    case("n-keys-wraps", EFORMAT, "keys", gguf([ARCH], n_kv=(2**64) // 14 + 1))
    case("n-tensors-wraps", EFORMAT, "tensors", gguf([ARCH], n_t=(2**64) // 33 + 1))
    case("n-keys-one-more", EFORMAT, "key 2", gguf([ARCH], n_kv=2))
    case("n-keys-one-more-nothing-left", EFORMAT, "ends before key 2", gguf([ARCH], n_kv=2, pad=False))
    case("n-tensors-one-more", EFORMAT, "tensor 2", gguf([ARCH], [tensor("a", [8])], bytes(64), n_t=2))
    case("n-keys-one-less", EFORMAT, "tensor b: has 0 dimensions", gguf([ARCH, kv("b", U8, 1)], [tensor("a", [8])], bytes(32), n_kv=1))


def names():
    fill = kv("fill", STR, "x" * 40)
    bad_kv("name-empty", EFORMAT, "name of 0 bytes", s("") + u32(U8) + b"\1", fill)
    bad_kv("name-max", EFORMAT, "name of 18446744073709551615 bytes", s("a", 2**64 - 1) + u32(U8) + b"\1", fill)
    bad_kv("name-sign", EFORMAT, "name of 9223372036854775808 bytes", s("a", 2**63) + u32(U8) + b"\1", fill)
    bad_kv("name-65536", EFORMAT, "name of 65536 bytes", s("a", 65536) + u32(U8) + b"\1", fill)
    bad_kv("name-past-end", EFORMAT, "in the name of key 2", s("a", 500) + u32(U8) + b"\1", fill)
    bad_kv("name-nul", EFORMAT, "NUL", kv("a\0b", U8, 1))
    bad_kv("name-nul-last", EFORMAT, "NUL", kv("general.architecture\0", U8, 1))
    bad_kv("duplicate", EFORMAT, "key x.y: occurs twice", kv("x.y", U8, 1), kv("x.y", U8, 1))
    bad_kv("duplicate-other-type", EFORMAT, "general.architecture: occurs twice", kv("general.architecture", U8, 1))
    bad_kv("escape", EFORMAT, r"\x1b[31mred", kv("\x1b[31mred", BOOL, 2))
    bad_kv("format", EFORMAT, "%s%n%d", kv("%s%n%d", BOOL, 2))
    bad_t("name-empty", EFORMAT, "name of 0 bytes", tensor("", [8]))
    bad_t("name-256", EFORMAT, "name of 256 bytes", tensor("n" * 256, [8]))
    bad_t("name-max", EFORMAT, "name of 18446744073709551615", s("a", 2**64 - 1) + tensor("a", [8])[9:])
    bad_t("name-past-end", EFORMAT, "in the name of tensor 1", s("a", 200) + tensor("a", [8])[9:], data=b"", pad=False)
    bad_t("name-nul", EFORMAT, "NUL", tensor("a\0", [8]))
    bad_t("name-nul-only", EFORMAT, "NUL", tensor("\0", [8]))
    bad_t("duplicate", EFORMAT, "tensor w: occurs twice", tensor("w", [8]), tensor("w", [8], off=32))


def values():
    for t in (13, 14, 255, 2**31, 2**32 - 1):
        bad_kv(f"type-{t}", EFORMAT, f"key k: value type {t}", s("k") + u32(t) + bytes(16))
    for t, n in ((U8, 1), (U16, 2), (U32, 4), (F32, 4), (U64, 8), (F64, 8), (BOOL, 1)):
        bad_kv(f"cut-value-{t}", EFORMAT, "key kkkkkk: the file ends in its value", s("kkkkkk") + u32(t) + bytes(n - 1),
               pad=False)
    bad_kv("cut-type", EFORMAT, "key kkkkkk: the file ends before its type", s("kkkkkk") + bytes(3), pad=False)
    for v in (2, 255):
        bad_kv(f"bool-{v}", EFORMAT, f"key b: a bool of value {v}", kv("b", BOOL, v))
    bad_kv("bool-array", EFORMAT, "key b: a bool of value 7", kv("b", ARR, arr(BOOL, 3, b"\0\1\7")))
    for n, tag in ((2**64 - 1, "max"), (2**64 - 8, "wraps"), (2**63, "sign"), (2**32, "2^32"), (100, "100")):
        bad_kv("string-" + tag, EFORMAT, "key k: its string goes past the end", s("k") + u32(STR) + s("abc", n))
    bad_kv("string-one-too-long", EFORMAT, "key k: its string", s("k") + u32(STR) + s("abc", 4), pad=False)
    bad_kv("string-cut-length", EFORMAT, "key kkkk: its string", s("kkkk") + u32(STR) + bytes(7), pad=False)


def arrays():
    bad_kv("array-cut-head", EFORMAT, "head of its array", s("kk") + u32(ARR) + u32(U8) + bytes(7), pad=False)
    for e in (13, 77, 2**32 - 1):
        bad_kv(f"array-elem-{e}", EFORMAT, f"key k: elements of type {e}", kv("k", ARR, arr(e, 1, bytes(8))))
    bad_kv("array-nested", EUNSUPPORTED, "key k: an array of arrays",
           kv("k", ARR, arr(ARR, 1, arr(U8, 1, b"\1"))))
    bad_kv("array-nested-deep", EUNSUPPORTED, "array of arrays", s("k") + u32(ARR) + arr(ARR, 1, b"") * 2000)
    bad_kv("array-nested-empty", EUNSUPPORTED, "array of arrays", kv("k", ARR, arr(ARR, 0, b"")))
    for e in (U8, U16, U32, U64, BOOL, F32, F64, STR):
        for n, tag in ((2**64 - 1, "max"), (2**61 + 1, "wraps8"), (2**62 + 1, "wraps4"), (2**63 + 1, "wraps2"), (500, "500")):
            if tag in ("max", "500") or (e in (U64, STR) and tag == "wraps8") or (e in (U32, F32) and tag == "wraps4") \
                    or (e == U16 and tag == "wraps2"):
                bad_kv(f"array-{e}-{tag}", EFORMAT, f"key k: claims {n} elements", kv("k", ARR, arr(e, n, bytes(16))))
    bad_kv("array-one-more", EFORMAT, "key k: claims 3 elements", kv("k", ARR, arr(U64, 3, bytes(23))), pad=False)
    bad_kv("array-str-element-max", EFORMAT, "key k: element 1 of 3",
           kv("k", ARR, arr(STR, 3, s("a") + s("b", 2**64 - 1) + s("c") + bytes(16))))
    bad_kv("array-str-element-wraps", EFORMAT, "key k: element 1 of 3",
           kv("k", ARR, arr(STR, 3, s("a") + s("b", 2**64 - 9) + s("c") + bytes(16))))
    bad_kv("array-str-element-long", EFORMAT, "key k: element 2 of 3",
           kv("k", ARR, arr(STR, 3, s("a") + s("b") + s("c", 100))))
    bad_kv("array-str-one-too-few", EFORMAT, "key k: element 40 of 41",
           kv("k", ARR, arr(STR, 41, s("abc") * 40)), pad=False)
    bad_kv("array-str-cut-length", EFORMAT, "key k: element 1 of 2",
           kv("k", ARR, arr(STR, 2, s("abcdefgh") + bytes(7))), pad=False)
    bad_kv("array-str-then-junk", EFORMAT, "key 3", kv("k", ARR, arr(STR, 1, s("a"))), b"\xff" * 40)


def alignment():
    for v in (0, 3, 24, 33, 2**20 + 1, 2**21, 2**31, 2**32 - 1):
        bad_kv(f"align-{v}", EFORMAT, f"general.alignment: is {v}", kv("general.alignment", U32, v))
    for t, v in ((U64, 32), (I32, 32), (U8, 32), (F32, 32.0), (BOOL, 1)):
        bad_kv(f"align-type-{t}", EFORMAT, "general.alignment: has type", kv("general.alignment", t, v))
    bad_kv("align-string", EFORMAT, "general.alignment: has type string", kv("general.alignment", STR, "32"))
    bad_kv("align-array", EFORMAT, "general.alignment: has type array", kv("general.alignment", ARR, arr(U32, 1, u32(32))))
    bad_kv("align-twice", EFORMAT, "general.alignment: occurs twice", kv("general.alignment", U32, 32),
           kv("general.alignment", U32, 64))
    bad_t("offset-unaligned", EFORMAT, "tensor w: offset 16 is not a multiple", tensor("w", [8], off=16))
    bad_t("offset-unaligned-1", EFORMAT, "offset 1 is not", tensor("w", [8], off=1))
    bad_t("offset-unaligned-256", EFORMAT, "multiple of the alignment 256", tensor("w", [8], off=32),
          kvs=[kv("general.alignment", U32, 256)], align=256)
    bad_t("align-past-end", EFORMAT, "tensor w: needs", tensor("w", [1]), kvs=[kv("general.alignment", U32, 2**20)])


def shapes():
    for n in (0, 5, 8, 2**31, 2**32 - 1):
        bad_t(f"n-dims-{n}", EFORMAT, f"tensor w: has {n} dimensions", tensor("w", [8], n_dims=n))
    for i in range(4):
        dims = [4, 2, 1, 1]
        dims[i] = 0
        bad_t(f"dim-{i}-zero", EFORMAT, f"tensor w: dimension {i + 1} is 0", tensor("w", dims))
    for v, tag in ((2**63, "sign"), (2**64 - 1, "max")):
        bad_t("dim-" + tag, EFORMAT, f"dimension 1 is {v}", tensor("w", [v]))
        bad_t("dim-4-" + tag, EFORMAT, f"dimension 4 is {v}", tensor("w", [1, 1, 1, v]))
    for dims, tag in (([2**63 - 1], "2^63-1"), ([2**32, 2**32], "2^32-twice"), ([2**31, 2**31, 4], "wraps-to-0"),
                      ([2**16] * 4, "2^64"), ([2**62, 4], "2^64-b"), ([2**61, 1], "2^63-bytes"),
                      ([4, 2**61 + 1], "size-wraps"), ([3, 6148914691236517206], "elements-wrap")):
        bad_t("shape-" + tag, EFORMAT, "tensor w: its shape", tensor("w", dims))
        assert len(dims) < 5
    for kind, n, name in ((Q4_0, 31, "q4_0"), (Q4_1, 33, "q4_1"), (Q8_0, 1, "q8_0"), (Q4_K, 255, "q4_k"),
                          (Q4_K, 32, "q4_k")):
        bad_t(f"row-{name}-{n}", EFORMAT, f"tensor w: rows of {n} elements, but {name} has blocks", tensor("w", [n, 2], kind))
    bad_t("row-q8_0-huge", EFORMAT, "tensor w: its shape", tensor("w", [2**63 - 32, 1], Q8_0))
    bad_t("row-q4_0-huge", EFORMAT, "tensor w: its shape", tensor("w", [2**62, 2], Q4_0))
    for t in (4, 5, 31, 32, 33, 36, 37, 38, 43, 100, 127, 129, 1000, 2**31, 2**32 - 1):
        bad_t(f"type-{t}", EUNSUPPORTED, f"tensor w: type number {t} ", tensor("w", [32], t))


def ranges():
    whole = gguf([ARCH], [tensor("w", [64])], bytes(256))
    for cut in (1, 128, 255, 256):
        case(f"data-cut-{cut}", EFORMAT, "tensor w: needs 256 bytes", whole[:-cut])
    case("no-data-no-padding", EFORMAT, "tensor w: needs 4 bytes", gguf([ARCH], [tensor("w", [1])], pad=False))
    for off, tag in ((2**64 - 32, "wraps"), (2**63, "sign"), (2**32, "2^32"), (256, "end"), (224, "last")):
        bad_t("offset-" + tag, EFORMAT, f"tensor w: needs 64 bytes from {off}", tensor("w", [16], off=off))
    bad_t("size-past-end", EFORMAT, "tensor w: needs 4000 bytes", tensor("w", [1000]))
    bad_t("size-2^40", EFORMAT, "tensor w: needs 4398046511104 bytes", tensor("w", [2**20, 2**20]))
    bad_t("size-2^62", EFORMAT, "tensor w: needs 4611686018427387904 bytes", tensor("w", [2**30, 2**30]))
    bad_t("second-past-end", EFORMAT, "tensor b: needs", tensor("a", [8]), tensor("b", [64], off=32))
    bad_t("same-place", EFORMAT, "overlaps tensor", tensor("a", [8]), tensor("b", [8]))
    bad_t("overlap-tail", EFORMAT, "tensor b: overlaps tensor a", tensor("a", [9]), tensor("b", [8], off=32))
    bad_t("overlap-backwards", EFORMAT, "tensor a: overlaps tensor b", tensor("a", [8], off=32), tensor("b", [9]))
    bad_t("overlap-inside", EFORMAT, "tensor b: overlaps tensor a", tensor("a", [64]), tensor("c", [1], off=192),
          tensor("b", [8], off=64))
    bad_t("overlap-far", EFORMAT, "overlaps tensor a", tensor("a", [64]), tensor("b", [8], off=224))
    info = tensor("w", [8])
    for cut, says in ((8, "description"), (12, "description"), (17, "description"), (24, "before its dimensions")):
        case(f"tensor-info-cut-{cut}", EFORMAT, "tensor wwwwwwwwwwwwwwwwwwwwwwwwwwww: the file ends",
             gguf([ARCH], [tensor("w" * 28, [8])[:-cut]], pad=False))


def split():
    case("split-no-negative", EFORMAT, "split.no: is not a count", gguf([ARCH, kv("split.no", I32, -1)]))
    case("split-no-max", EFORMAT, "split.no: is not a count",
         gguf([ARCH, kv("split.no", I64, 2**63 - 1), kv("split.count", U16, 2)]))
    case("split-count-max", EFORMAT, "split.count: is not a count", gguf([ARCH, kv("split.count", U64, 2**64 - 1)]))
    case("split-count-string", EFORMAT, "split.count: is not a count", gguf([ARCH, kv("split.count", STR, "3")]))
    case("split-count-float", EFORMAT, "split.count: is not a count", gguf([ARCH, kv("split.count", F32, 1.5)]))
    case("split-tensors-negative", EFORMAT, "split.tensors.count: is not a count",
         gguf([ARCH, kv("split.tensors.count", I32, -5)]))


def sound():
    """Neighbours of the cases above that must open."""
    case("sound-no-keys", 0, "", gguf())
    case("sound-no-tensors", 0, "", gguf([ARCH]))
    case("sound-no-padding", 0, "", gguf([ARCH], pad=False))
    case("sound-empty-arrays", 0, "", gguf([kv("a", ARR, arr(STR, 0, b"")), kv("b", ARR, arr(U64, 0, b""))], pad=False))
    case("sound-exact-end", 0, "", gguf([ARCH], [tensor("w", [64])], bytes(256)))
    case("sound-backwards", 0, "", gguf([ARCH], [tensor("a", [8], off=32), tensor("b", [8])], bytes(64)))
    case("sound-hole-and-tail", 0, "", gguf([ARCH], [tensor("a", [8]), tensor("b", [8], off=128)], bytes(300)))
    case("sound-align-1", 0, "", gguf([kv("general.alignment", U32, 1)], [tensor("a", [1]), tensor("b", [1], off=4)],
                                     bytes(8), align=1))
    case("sound-name-255", 0, "", gguf([ARCH], [tensor("n" * 255, [8])], bytes(32)))
    case("sound-one-part", 0, "", gguf([ARCH, kv("split.no", U16, 0), kv("split.count", U16, 1)]))
    case("sound-strides", 0, "", gguf([kv("k", ARR, strs(*[f"t{i}" for i in range(97)]))]))
    case("sound-not-utf8", 0, "", gguf([kv(b"\xff\xfe", STR, b"\xc3\x28")]))


def main():
    for part in (head, names, values, arrays, alignment, shapes, ranges, split, sound):
        part()
    assert len({c[0] for c in cases}) == len(cases)
    with open("tests/fixtures/bad_gguf.bin", "wb") as f:
        for name, code, says, data in cases:
            name, says = name.encode(), says.encode()
            f.write(struct.pack("B", len(name)) + name + struct.pack("b", code) + struct.pack("B", len(says)) + says
                    + struct.pack("<H", len(data)) + data)
    print(len(cases), "files,", sum(c[1] != 0 for c in cases), "malformed")


main()
