/* families.c - what tokenizer.ggml.pre names: the normalizer and pre_tokenizer of each family's tokenizer.json, with the
 * patterns as that file has them.  Names share a row when all of it is the same.
 * GOTCHAS: what GGUF files with gpt2 vocabularies call "default" is not any family's; the row is what such files are
 * run with elsewhere.  gemma4 and its kin have no byte-level letters. */
#include "tokenizer/split.h"
#include <string.h>

#define REGEX(re)     "{\"type\":\"Split\",\"pattern\":{\"Regex\":\"" re "\"},\"behavior\":\"Isolated\",\"invert\":false}"
#define BYTES         "{\"type\":\"ByteLevel\",\"add_prefix_space\":false,\"trim_offsets\":true,\"use_regex\":false}"
#define GPT2          "{\"type\":\"ByteLevel\",\"add_prefix_space\":false,\"trim_offsets\":true,\"use_regex\":true}"
#define DIGITS        "{\"type\":\"Digits\",\"individual_digits\":true}"
#define DIGIT_RUNS    "{\"type\":\"Digits\",\"individual_digits\":false}"
#define PUNCT(how)    "{\"type\":\"Punctuation\",\"behavior\":\"" how "\"}"
#define SEQ(list)     "{\"type\":\"Sequence\",\"pretokenizers\":[" list "]}"
#define ONE(re)       SEQ(REGEX(re) "," BYTES)
#define NFC           "{\"type\":\"NFC\"}"
#define LOWER         "{\"type\":\"Lowercase\"}"
#define ESCAPE_SPACES "{\"type\":\"Replace\",\"pattern\":{\"String\":\" \"},\"content\":\"\\u2581\"}"

#define APOS        "(?i:'s|'t|'re|'ve|'m|'ll|'d)"
#define WORD        "[^\\\\r\\\\n\\\\p{L}\\\\p{N}]?\\\\p{L}+"
#define MARKS       " ?[^\\\\s\\\\p{L}\\\\p{N}]+"
#define SPACES      "\\\\s+(?!\\\\S)|\\\\s+"
#define NEWLINES    "\\\\s*[\\\\r\\\\n]+|" SPACES
#define QWEN2(num)  APOS "|" WORD "|" num "|" MARKS "[\\\\r\\\\n]*|" NEWLINES
#define LLAMA3      QWEN2("\\\\p{N}{1,3}")
#define QWEN35 \
	APOS "|[^\\\\r\\\\n\\\\p{L}\\\\p{N}]?[\\\\p{L}\\\\p{M}]+|\\\\p{N}| ?[^\\\\s\\\\p{L}\\\\p{M}\\\\p{N}]+[\\\\r\\\\n]*|" NEWLINES
#define UPPER(less) "[\\\\p{Lu}\\\\p{Lt}\\\\p{Lm}\\\\p{Lo}\\\\p{M}" less "]"
#define LOWER_(less) "[\\\\p{Ll}\\\\p{Lm}\\\\p{Lo}\\\\p{M}" less "]"
#define CASED(apos, less) \
	"[^\\\\r\\\\n\\\\p{L}\\\\p{N}]?" UPPER(less) "*" LOWER_(less) "+" apos \
	"|[^\\\\r\\\\n\\\\p{L}\\\\p{N}]?" UPPER(less) "+" LOWER_(less) "*" apos
#define O200K(num)  CASED(APOS "?", "") "|" num "|" MARKS "[\\\\r\\\\n/]*|" NEWLINES
#define TEKKEN      CASED("", "") "|\\\\p{N}|" MARKS "[\\\\r\\\\n/]*|" NEWLINES
#define KIMI_K2 \
	"[\\\\p{Han}]+|" CASED(APOS "?", "&&[^\\\\p{Han}]") "|\\\\p{N}{1,3}|" MARKS "[\\\\r\\\\n]*|" NEWLINES
#define NO_WORD_MARK "[^\\\\r\\\\n\\\\p{L}\\\\p{P}\\\\p{S}]?[\\\\p{L}\\\\p{M}]+"
#define ASCII_MARK  "[!\\\"#$%&'()*+,\\\\-./:;<=>?@\\\\[\\\\\\\\\\\\]^_`{|}~][A-Za-z]+"
#define DEEPSEEK3   ASCII_MARK "|" NO_WORD_MARK "| ?[\\\\p{P}\\\\p{S}]+[\\\\r\\\\n]*|" NEWLINES
#define SPARK       ASCII_MARK "|" NO_WORD_MARK "| ?[\\\\p{P}\\\\p{S}]+|[\\\\r\\\\n]|" SPACES
#define KANA_HAN    "[\u4e00-\u9fa5\u3040-\u309f\u30a0-\u30ff]+"
#define CODER_CJK   "[\u4e00-\u9fa5\u0800-\u4e00\uac00-\ud7ff]+"
#define BLOOM       " ?[^(\\\\s|[.,!?\u2026\u3002\uff0c\u3001\u0964\u06d4\u060c])]+"
#define BAILING \
	"'(?i:[sdmt]|ll|ve|re)|[^\\\\r\\\\n\\\\p{L}\\\\p{N}]?+\\\\p{L}+|\\\\p{N}| ?[^\\\\s\\\\p{L}\\\\p{N}]++[\\\\r\\\\n]*|\\\\s*[\\\\r\\\\n]|" SPACES
#define EXAONE_MOE \
	APOS "|[^\\\\r\\\\n\\\\p{L}\\\\p{N}]?(?:\\\\p{L}\\\\p{M}*(?: \\\\p{L}\\\\p{M}*)*)+|\\\\p{N}|" MARKS "[\\\\r\\\\n/]?|\\\\s*[\\\\r\\\\n]|" SPACES
#define STEP(n)     "\\\\s{" n "}(?!\\\\S)|"
#define JAIS2 \
	APOS "|" WORD "|\\\\p{N}{1,3}|" MARKS "[\\\\r\\\\n]*|\\\\s*[\\\\r\\\\n]+|" STEP("512") STEP("256") STEP("128") STEP("64") \
	STEP("32") STEP("16") STEP("8") STEP("4") STEP("1,2") "\\\\s{1}"
#define YOUTU_CJK \
	"[\uac00-\ud7a3\u3131-\u318e]+|[\uff01\u2026\u201c\u201d\u2018\u2019\u2014\uff1a\uff1b\uff0c\u3001-\u303f\ufe30-\ufe4f]+|" \
	"[\u3105-\u312f]+|" KANA_HAN
#define AFMOE_CJK \
	"[\u4e00-\u9fff\u3400-\u4dbf\u8c48-\ufaff\u3040-\u309f\u30a0-\u30ff\uff65-\uff9f\u2f00-\u2fdf\u0e40-\u0e7f\u0e80-\u0eff" \
	"\u1780-\u17ff\u1000-\u109f\uaa60-\uaa7f\ua9e0-\ua9ff\uac00-\ud7af\u1100-\u11ff]+"
/* Numbers in threes from their right end. */
#define THREES      "\\\\p{N}{1,3}(?=(?:\\\\p{N}{3})*(?!\\\\p{N}))"
/* Letters of the scripts with two cases, as the model's own pattern lists them. */
#define LLM_LETTERS \
	"A-Za-z\u00b5\u00c0-\u00d6\u00d8-\u00f6\u00f8-\u01ba\u01bc-\u01bf\u01c4-\u0293\u0295-\u02af\u0370-\u0373\u0376\u0377" \
	"\u037b-\u037d\u037f\u0386\u0388-\u038a\u038c\u038e-\u03a1\u03a3-\u03f5\u03f7-\u0481\u048a-\u052f\u0531-\u0556\u10a0-\u10c5" \
	"\u13a0-\u13f5\u13f8-\u13fd\u1c90-\u1cba\u1cbd-\u1cbf\u1d00-\u1d2b\u1d6b-\u1d77\u1d79-\u1d9a\u1e00-\u1f15\u1f18-\u1f1d" \
	"\u1f20-\u1f45\u1f48-\u1f4d\u1f50-\u1f57\u1f59\u1f5b\u1f5d\u1f5f-\u1f7d\u1f80-\u1fb4\u1fb6-\u1fbc\u1fbe\u1fc2-\u1fc4" \
	"\u1fc6-\u1fcc\u1fd0-\u1fd3\u1fd6-\u1fdb\u1fe0-\u1fec\u1ff2-\u1ff4\u1ff6-\u1ffc\u2102\u2107\u210a-\u2113\u2115\u2119-\u211d" \
	"\u2124\u2126\u2128\u212a-\u212d\u212f-\u2134\u2139\u213c-\u213f\u2145-\u2149\u214e\u2183\u2184\u2c00-\u2c7b\u2c7e-\u2ce4" \
	"\u2ceb-\u2cee\u2cf2\u2cf3\ua640-\ua66d\ua680-\ua69b\ua722-\ua76f\ua771-\ua787\ua78b-\ua78e\uab70-\uabbf\ufb00-\ufb06" \
	"\ufb13-\ufb17\uff21-\uff3a\uff41-\uff5a\U00010400-\U0001044f\U000104b0-\U000104d3\U000104d8-\U000104fb" \
	"\U00010c80-\U00010cb2\U00010cc0-\U00010cf2\U000118a0-\U000118df\U0001e900-\U0001e943"
#define LLM_MARKS   "!-/:-~\uff01-\uff0f\uff1a-\uff5e\u2018-\u201f\u3000-\u3002"

/* clang-format off */
static const struct family families[] = {
	{ " gpt-2 phi-2 jina-es jina-de gigachat jina-v2-es jina-v2-de a.x-4.0 mellum jais trillion granite-docling exaone4 ",
	  0, NULL, GPT2 },
	{ " jina-v1-en jina-v2-code roberta-bpe ", FAMILY_SEP, NULL, GPT2 },
	{ " mpt olmo modern-bert ", 0, NFC, GPT2 },
	{ " starcoder refact smollm codeshell exaone minerva-7b mellum2 ", 0, NULL, SEQ(DIGITS "," GPT2) },
	{ " command-r ", 0, NFC, SEQ(DIGITS "," GPT2) },
	{ " tiny_aya cohere2moe ", 0, NFC,
	  SEQ(REGEX("\\\\d{1,3}(?=(?:\\\\d{3})*\\\\b)") "," REGEX(O200K("\\\\p{N}{1,3}")) "," BYTES) },
	{ " llama3 llama-v3 llama-bpe falcon3 falcon-h1 pixtral midm-2.0 lfm2 jina-v5-nano ",
	  FAMILY_IGNORE_MERGES | FAMILY_BOS, NULL, ONE(LLAMA3) },
	{ " dbrx smaug-bpe ", 0, NULL, ONE(LLAMA3) },
	{ " chatglm-bpe glm4 glm5 ", FAMILY_IGNORE_MERGES, NULL, ONE(LLAMA3) },
	{ " minicpm5 ", FAMILY_IGNORE_MERGES, NULL,
	  SEQ(REGEX("\\\\p{N}{1,3}") "," REGEX(QWEN2("\\\\p{N}+")) "," BYTES) },
	{ " qwen2 f2llmv2 stablelm2 ", 0, NFC, ONE(QWEN2("\\\\p{N}")) },
	{ " deepseek-r1-qwen kormo megrez hunyuan solar-open grok-2 ", 0, NULL, ONE(QWEN2("\\\\p{N}")) },
	{ " qwen35 ", 0, NFC, ONE(QWEN35) },
	{ " gpt-4o kanana2 talkie minimax-m2 ", 0, NULL, ONE(O200K("\\\\p{N}{1,3}")) },
	{ " llama4 ", FAMILY_BOS, NULL, ONE(O200K("\\\\p{N}{1,3}")) },
	{ " granite-embed-multi-97m ", FAMILY_IGNORE_MERGES, NULL, ONE(O200K("\\\\p{N}{1,3}")) },
	{ " tekken ", FAMILY_IGNORE_MERGES | FAMILY_BOS, NULL, ONE(TEKKEN) },
	{ " kimi-k2 ", 0, NULL, ONE(KIMI_K2) },
	{ " deepseek-v3 hunyuan-dense joyai-llm hy_v4 ", 0, NULL,
	  SEQ(REGEX("\\\\p{N}{1,3}") "," REGEX(KANA_HAN) "," REGEX(DEEPSEEK3) "," BYTES) },
	{ " spark2_5 ", 0, NULL,
	  SEQ(REGEX("\\\\p{N}{1,3}") "," REGEX(KANA_HAN) "," REGEX(SPARK) "," REGEX("\\\\p{N}") "," BYTES) },
	{ " deepseek-coder ", 0, NULL,
	  SEQ(REGEX("[\\r\\n]") "," REGEX("\\\\s?\\\\p{L}+") "," REGEX("\\\\s?\\\\p{P}+") "," REGEX(CODER_CJK) "," DIGITS "," BYTES) },
	{ " deepseek-llm ", 0, NULL,
	  SEQ(REGEX("[\\r\\n]") "," REGEX("\\\\s?[" LLM_LETTERS "]+") "," REGEX("\\\\s?[" LLM_MARKS "]+") "," REGEX("\\\\s+$") ","
	      REGEX(CODER_CJK) "," DIGITS "," BYTES) },
	{ " youtu ", FAMILY_IGNORE_MERGES, NULL, SEQ(REGEX(YOUTU_CJK) "," REGEX(O200K("\\\\p{N}")) "," BYTES) },
	{ " afmoe ", 0, NULL, SEQ(REGEX(THREES) "," REGEX(AFMOE_CJK) "," REGEX(DEEPSEEK3) "," BYTES) },
	{ " falcon ", 0, NULL, SEQ(PUNCT("Contiguous") "," GPT2 "," DIGIT_RUNS "," REGEX("[0-9][0-9][0-9]")) },
	{ " default ", 0, NULL,
	  SEQ(REGEX("[\\\\p{P}$+<=>^~|]+") "," REGEX("'s|'t|'re|'ve|'m|'ll|'d| ?\\\\p{L}+| ?\\\\p{N}+| ?[^\\\\s\\\\p{L}\\\\p{N}]+|" SPACES)
	      "," REGEX("\\\\p{N}+") "," REGEX("[0-9][0-9][0-9]") "," BYTES) },
	{ " bloom poro-chat gpt3-finnish ", 0, NULL, ONE(BLOOM) },
	{ " viking ", 0, NULL, SEQ(REGEX(BLOOM) "," DIGITS "," BYTES) },
	{ " bailingmoe bailingmoe2 llada-moe ", 0, NULL, ONE(BAILING) },
	{ " seed-coder ", 0, NULL, ONE(APOS "|" WORD "|\\\\p{N}{1}| ?[^\\\\s\\\\p{L}\\\\p{N}\\r\\n]+|\\\\s*[\\r\\n]+|" SPACES) },
	{ " superbpe ", 0, NULL, SEQ(REGEX("\\\\p{N}+") "," REGEX("(?=(\\\\d{3})+(?!\\\\d))") "," BYTES) },
	{ " jais-2 ", 0, NULL, ONE(JAIS2) },
	{ " exaone-moe ", 0, NULL, ONE(EXAONE_MOE) },
	{ " laguna ", 0, NULL, SEQ(REGEX("[^\\\\n]+|[\\\\n]+") "," REGEX(QWEN2("\\\\p{N}")) "," BYTES) },
	{ " ufakzeka ", 0, NULL, ONE(WORD "|\\\\p{N}|" MARKS "[\\\\r\\\\n]*|" NEWLINES) },
	{ " chameleon ", FAMILY_BOS, NULL,
	  SEQ(REGEX("<sentinel:[0-9]+>") "," REGEX("(IMGIMG)((A|B|C|D|E|F|G|H|I){1,4})Z") "," REGEX("([\\\\t\\\\n]|    |  )") ","
	      DIGITS "," PUNCT("Isolated") "," GPT2) },
	{ " gemma4 granite-embed-multi-311m ", FAMILY_BOS, ESCAPE_SPACES, NULL },
	{ " sarvam-moe ", 0, ESCAPE_SPACES, NULL },
	{ " whitespace ", 0, LOWER, "{\"type\":\"Whitespace\"}" },
};
/* clang-format on */
enum { N_FAMILIES = sizeof families / sizeof *families };

const struct family *family_at(int i)
{
	return i >= 0 && i < N_FAMILIES ? &families[i] : NULL;
}

const struct family *family_find(const char *name, size_t len)
{
	char word[64];
	if (len == 0 || len > sizeof word - 3 || memchr(name, ' ', len) || memchr(name, 0, len)) return NULL;
	word[0] = ' ';
	memcpy(word + 1, name, len);
	memcpy(word + 1 + len, " ", 2);
	for (int i = 0; i < N_FAMILIES; i++)
		if (strstr(families[i].names, word)) return &families[i];
	return NULL;
}
