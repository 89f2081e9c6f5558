"""Strings that tokenizers get wrong, from a seed: all scripts, emoji, normal forms, white space, numbers, code, control
characters, look-alikes of a vocabulary's own special tokens, mixtures; and bytes that are no UTF-8."""
import random
import unicodedata

import gold_tok as gold

# letters (and marks) of a script: ranges, ends included
RANGES = """0041-005A 0061-007A|00C0-00D6 00D8-00F6 00F8-017F 0180-024F|0250-02AF 1D00-1DBF|0370-03FF 1F00-1FFE|0400-052F|0531-0556 0561-0587|05D0-05EA 0591-05C7
0620-064A 064B-065F 0671-06D3|0710-072F 0730-074A|0780-07B1|07CA-07F5|0840-085B|08A0-08FF|0904-0939 093A-094F 0958-0963|0985-09B9 09BC-09CD|0A05-0A39 0A3C-0A4D|0A85-0AB9 0ABC-0ACD
0B05-0B39 0B3C-0B4D|0B85-0BB9 0BBE-0BCD|0C05-0C39 0C3C-0C4D|0C85-0CB9 0CBC-0CCD|0D05-0D3A 0D3B-0D4D|0D85-0DC6 0DCA-0DDF|0E01-0E3A 0E40-0E4E|0E81-0EBD 0EC0-0ECD|0F40-0F6C 0F71-0F84 0F90-0FBC
1000-102A 102B-103E|10A0-10C5 10D0-10FA 1C90-1CBF|1100-1112 1161-1175 11A8-11C2|1200-137C|13A0-13F5 AB70-ABBF|1400-167F|16A0-16EA|1780-17B3 17B6-17D3|1820-1878|1B05-1B33 1B34-1B44
2C00-2C5F|2C80-2CF3|2D30-2D67|3041-3096 3099-309A|30A1-30FA 30FC|3105-312F|3131-318E|3400-4DBF|4E00-9FFF|A000-A48C|A640-A69F|A720-A7CA|A840-A877|AC00-D7A3|F900-FAD9|FB00-FB06 FB1D-FB4F
FB50-FDFB FE70-FEFC|FF21-FF3A FF41-FF5A|FF66-FF9F|10000-100FA|10280-1031F|10330-1034A|10400-1044F|10900-10915|10A00-10A40|11005-11046|12000-12399|13000-1342E|16800-16A38|1B000-1B11E
1D400-1D7CB|1E900-1E943|20000-2A6DF|2F800-2FA1D|30000-3134A"""
OTHER = """0020-0040 005B-0060 007B-007E|00A1-00BF|02B0-02FF|0300-036F|0483-0489|0589-058F|2000-206F|2070-209C 20A0-20C0|20D0-20F0|2100-218B|2190-23FF|2400-24FF|2500-27BF|27C0-2BFF|2E00-2E5D
2E80-2FD5|3000-303F|3200-33FF|A490-A4C6|A700-A71F|FE00-FE2F|FE30-FE6F|FF01-FF20 FFE0-FFEE|10100-101FD|1D000-1D245|1F000-1F2FF|1F300-1F64F|1F680-1F6FF|1F900-1FAFF|0030-0039|0660-0669|0966-096F
0E50-0E59|2460-249B|1D7CE-1D7FF|E000-E0FF F8F0-F8FF|0000-001F|007F-009F|0378-0379 0380-0383 0530|1FFFE-1FFFF 2FFFE-2FFFF 10FFFE-10FFFF|E0001 E0020-E007F E0100-E01EF|A7CB-A7DD 1C89-1C8A|D7B0-D7FB"""
SPACE = [" "] * 12 + ["  ", "   ", "    ", "\t", "\t\t", "\n", "\n\n", "\n\n\n", "\r\n", "\r", " \n", "\n ", "\v", "\f", "\x1c", "\x85", "\u00a0", "\u1680", "\u2003", "\u2028",
                        "\u2029", "\u202f", "\u205f", "\u3000", "\u200b", "\ufeff", "\u180e", "\u2060"]
APOS = ["'s", "'t", "'re", "'ve", "'m", "'ll", "'d", "'S", "'T", "'RE", "'Ve", "'M", "'LL", "'lL", "'D", "'\u017f", "'\u212a", "\u2019s", "'", "''", "'x", "'s's", "'sa"]
LANG = ["int f(int a)\n{\n\tif (a > 0x1F)\n\t\treturn a << 2;\n\treturn -1; // no\n}\n", "def f(x, *, y=1):\n    \"\"\"Doc.\"\"\"\n    return [i**2 for i in range(x) if i % y == 0]\n",
        "{\"a\": [1, 2.5e-3, null, true], \"b\\u00e9\": {\"c\": \"d\\n\"}}", "SELECT a.id, COUNT(*) FROM t1 a LEFT JOIN t2 b ON a.id=b.id WHERE b.x IS NULL GROUP BY 1;",
        "<div class=\"a b\" id='c'>&nbsp;&lt;<br/></div>\n<!-- x -->", "fn main() -> Result<(), Box<dyn Error>> {\n    let v: Vec<u8> = vec![0; 16];\n    Ok(())\n}\n",
        "const f = async (x) => { await g(`${x}!`); return x ?? null; };", "#!/bin/sh\nset -eu\nfor i in \"$@\"; do echo ${i%.c} | sed 's/a/b/g' >> /dev/null; done\n",
        "package main\n\nfunc main() {\n\tfmt.Printf(\"%d\\n\", 42)\n}\n", "\\begin{equation}\n  E = mc^2 \\quad \\forall x \\in \\mathbb{R}\n\\end{equation}", "| a | b |\n|---|:-:|\n| 1 | `x` |\n\n- [ ] todo\n",
        "a = b ? c : d; e &= ~f; g ||= h; i <<= 3; j !== k; l?.m; n::o->p", "https://user:pw@example.com:8080/p/a.t/h?q=1&r=%7B%7D#frag", "2001-02-03T04:05:06.789+09:00 192.168.0.1 ::1 00:1A:2B",
        "diff --git a/x b/x\n@@ -1,3 +1,4 @@\n-old\n+new\n", "x = 'it''s'; y = \"say \\\"hi\\\"\"; z = r'\\d+\\s*'", "\t\tif x:\n\t\t\tpass\n        else:\n            ...\n"]


def ranges(text):
    out = []
    for group in text.replace("\n", "|").split("|"):
        cps = []
        for r in group.split():
            a, _, b = r.partition("-")
            cps += range(int(a, 16), int(b or a, 16) + 1)
        out.append([chr(c) for c in cps])
    return out


LETTERS, SIGNS = ranges(RANGES), ranges(OTHER)


class Strings:
    def __init__(self, seed):
        self.rng = random.Random(seed)

    def word(self):
        s = self.rng.choice(LETTERS if self.rng.random() < .6 else LETTERS[:5])
        return "".join(self.rng.choice(s) for _ in range(self.rng.choice((1, 2, 3, 4, 5, 6, 9))))

    def piece(self):
        r, c = self.rng.random(), self.rng.choice
        if r < .42:
            return self.word()
        if r < .52:
            return "".join(c(c(SIGNS)) for _ in range(c((1, 1, 1, 2, 3, 5))))
        if r < .60:
            return "".join(c("0123456789") for _ in range(c((1, 2, 3, 4, 5, 7, 12)))) + c(["", "", ".", ",5", "%", "th"])
        if r < .66:
            return self.word() + c(APOS)
        if r < .72:
            return c(gold.EMOJI + gold.NUMS + gold.CONTR)
        if r < .78:
            return c("!?.,;:-_()[]{}<>/\\|@#$%^&*+=~`\"'") * c((1, 1, 2, 3, 6))
        if r < .84:
            return "".join(c("aeiouAEnNcoU\u1100\uac00\u0915\u05d0") + c("\u0301\u0308\u0323\u0327\u0302\u0345\u1161\u11a8\u093c\u05bc") * c((1, 1, 2)) for _ in range(c((1, 2, 3))))
        if r < .90:
            return c(gold.MIXED + gold.CTRL + gold.SPACES)
        return c(["the", " The", "of", "and", "Hello", "world", "token", "izer", "函数", "der", "que", "не", "של", "ing", "camelCase", "HTTP", "x1", "_id"])

    def mixture(self):
        n, gap = self.rng.choice((1, 2, 2, 3, 3, 4, 6, 10)), self.rng.random()
        return "".join((self.rng.choice(SPACE) if self.rng.random() < gap else "") + self.piece() for _ in range(n)) + (self.rng.choice(SPACE) if self.rng.random() < .15 else "")

    def sentence(self):
        s = self.rng.choice(LETTERS)
        return " ".join("".join(self.rng.choice(s) for _ in range(self.rng.randint(1, 9))) for _ in range(self.rng.randint(2, 9))) + self.rng.choice([".", "!", "?", "\u3002", "\u0964", ""])

    def normal_forms(self, s):
        return unicodedata.normalize(self.rng.choice(("NFC", "NFD", "NFKC", "NFKD")), s)

    def code(self):
        s = self.rng.choice(LANG + gold.CODE)
        a, b = sorted((self.rng.randint(0, len(s)), self.rng.randint(0, len(s))))
        return s if self.rng.random() < .3 else s[a:b]

    def look_alike(self, names):
        """Special tokens of this vocabulary: whole, cut, doubled, among spaces, in other letters."""
        c, out = self.rng.choice, ""
        for _ in range(c((1, 1, 2, 3))):
            s = c(names)
            k = self.rng.randint(0, 9)
            if k == 0:
                s = s[:self.rng.randint(0, len(s))]
            elif k == 1:
                s = s[self.rng.randint(0, len(s)):]
            elif k == 2:
                s += s
            elif k == 3:
                s = s[:1] + s
            elif k == 4:
                s += s[-1:]
            elif k == 5:
                s = s.swapcase()
            elif k == 6:
                s = s.replace(" ", "\u2581") if " " in s else s.replace("\u2581", " ") if "\u2581" in s else " ".join(s)
            out += c(["", "", " ", "  ", "\n", "\t ", "\u00a0", "a", "_", "1", ".", "\u0301", "é", "中"]) + s
        return out + c(["", "", " ", "  ", "\n\n", "x", "é", " y", "\u3000z", "\u200d"])

    def batch(self, n, names, words):
        """n strings; names: added tokens, words: entries of the vocabulary."""
        out = list(gold.corpus())
        out += [unicodedata.normalize(f, s) for s in gold.SCRIPTS.replace("\n", "|").split("|") for f in ("NFC", "NFD", "NFKC", "NFKD")]
        out += LANG + gold.EMOJI + [a + b for a in gold.EMOJI for b in ("x", " ", "\u200d", "\ufe0f")]
        kinds = [self.mixture] * 5 + [self.sentence, self.code, lambda: self.normal_forms(self.mixture()), lambda: self.rng.choice(gold.CONTR) + self.mixture()]
        if names:
            kinds += [lambda: self.look_alike(names)] * 2
        if words:
            kinds.append(lambda: "".join(self.rng.choice(words) for _ in range(self.rng.randint(1, 6))))
        out += [" " * k + "x" + "\n" * (k % 5) for k in range(1, 40)] + ["7" * k for k in range(1, 40)] + ["\n" * k + "y" for k in range(1, 12)]
        seen = dict.fromkeys(out)
        while len(seen) < n:
            seen[self.rng.choice(kinds)()] = None
        return [s for s in seen if not any("\ud800" <= ch <= "\udfff" for ch in s)]

    def bad_bytes(self, n):
        """Byte strings that are no UTF-8."""
        parts = [b"\x80", b"\xbf", b"\xc0\x80", b"\xc1\xbf", b"\xc3", b"\xe2\x82", b"\xe2", b"\xe0\x80\x80", b"\xed\xa0\x80", b"\xed\xbf\xbf", b"\xf0\x9f\x98", b"\xf0\x9f", b"\xf0",
                 b"\xf0\x80\x80\x80", b"\xf4\x90\x80\x80", b"\xf5\x80\x80\x80", b"\xf8\x88\x80\x80\x80", b"\xfe", b"\xff", b"\xff\xfe", b"\xfe\xff", b"\xc3\x28", b"\xe2\x28\xa1", b"\xe2\x82\x28"]
        out = list(parts)
        while len(out) < n:
            s = b"".join(self.rng.choice(parts) if self.rng.random() < .5 else self.piece().encode() for _ in range(self.rng.randint(1, 6)))
            b = bytearray(s)
            if b and self.rng.random() < .3:
                b[self.rng.randrange(len(b))] = self.rng.randrange(256)
            try:
                bytes(b).decode()
            except UnicodeDecodeError:
                out.append(bytes(b))
        return out[:n]


def long_strings(n=1 << 20):
    """1 MB of one character, each kind a trap of its own."""
    return [c * (n // len(c.encode())) for c in ("a", " ", "\n", "1", "\u4e2d", "!")]
