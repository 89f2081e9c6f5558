#!/usr/bin/env python3
"""What `tokenizers` puts around two texts: tests/fixtures/tok/pairs.json, a list of {tokenizer, a, b, ids, types} where
`tokenizer` is the text of a small tokenizer.json.  Needs: tokenizers."""
import json

from tokenizers import Tokenizer, models, pre_tokenizers, processors

WORDS = ["[PAD]", "[CLS]", "[SEP]", "<s>", "</s>", "[UNK]", "one", "two", "three", "four", "five"]
T = processors.TemplateProcessing
SPECIAL = [("[CLS]", 1), ("[SEP]", 2), ("<s>", 3), ("</s>", 4)]
POST = [
    None,
    processors.BertProcessing(("[SEP]", 2), ("[CLS]", 1)),
    processors.RobertaProcessing(("</s>", 4), ("<s>", 3)),
    T(single="[CLS] $A [SEP]", pair="[CLS] $A [SEP] $B:1 [SEP]:1", special_tokens=SPECIAL),
    T(single="<s> $A </s>", pair="<s> $A </s> </s> $B </s>", special_tokens=SPECIAL),
    T(single="$A </s>", pair="$A </s> $B </s>", special_tokens=SPECIAL),
    T(single="<s> $A", pair="<s> $A <s>:1 $B:1", special_tokens=SPECIAL),
    T(single="[CLS] $A [SEP]", pair="[CLS]:2 $B:2 [SEP] $A:0 [SEP]", special_tokens=SPECIAL),
    processors.Sequence([processors.ByteLevel(), T(single="<s> $A", pair="<s> $A $B:1", special_tokens=SPECIAL)]),
]
PAIRS = [("one two", "three"), ("one", "two three four five"), ("", "five"), ("four [SEP] one", "")]


def main():
    out = []
    for post in POST:
        tok = Tokenizer(models.WordLevel({w: i for i, w in enumerate(WORDS)}, unk_token="[UNK]"))
        tok.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
        tok.add_special_tokens(WORDS[:5])
        if post is not None:
            tok.post_processor = post
        for a, b in PAIRS:
            e = tok.encode(a, b)
            out.append({"tokenizer": tok.to_str(), "a": a, "b": b, "ids": e.ids, "types": e.type_ids})
    with open("tests/fixtures/tok/pairs.json", "w") as f:
        json.dump(out, f, indent=0)
    print(len(out), "pairs")


if __name__ == "__main__":
    main()
