/* folder.h - what a Hugging Face folder holds besides weights: tokenizer files in their several forms, the JSON files
 * that describe them, and chat templates.  tok_open (tok.h) is made of this. */
#pragma once
#include "tokenizer/tok.h"
#include <jansson.h>

/* The chat template `name` of a folder (or of the folder that the file `path` lies in) is appended to *out; NULL: the
 * default one.  In order: chat_template.jinja, additional_chat_templates/NAME.jinja, tokenizer_config.json,
 * chat_template.json.  1: there is none of that name. */
int folder_template(const char *path, const char *name, struct lm_buf *out, struct lm_err *err);
/* The same of a GGUF: tokenizer.chat_template, or tokenizer.chat_template.NAME. */
int file_template(const struct file *f, const char *name, struct lm_buf *out, struct lm_err *err);
bool folder_has_tokenizer(const char *dir);                /* files that tok_open reads lie in it */

/* ---- inside src/tokenizer ---- */
enum { FOLDER_MAX_JSON = 16 << 20, FOLDER_MAX_PATH = 4096, N_TOKEN = TOK_MASK + 1 };

/* A token of the JSON files beside a vocabulary.  The text belongs to the JSON. */
struct extra {
	const char *s;
	size_t n;
	int64_t id;                                        /* OWN, NEXT or a number */
	unsigned flags;                                    /* enum added_flag */
};
enum { EXTRA_NEXT = -1, EXTRA_OWN = -2 };                  /* the next free id; that of the same text */
/* How one class of tokenizers is put together where no tokenizer.json says it. */
enum {
	ROW_VOCAB = 1,                                     /* vocab.json and merges.txt */
	ROW_TXT = 2,                                       /* vocab.txt */
	ROW_SPM = 4,                                       /* tokenizer.model */
	ROW_TEKKEN = 64,                                   /* tekken.json */
	ROW_TIKTOKEN = 128,                                /* tokenizer.model as tiktoken writes it */
	ROW_REFUSE = 8,                                    /* needs more than its files say */
	ROW_FAIRSEQ = 16,                                  /* ids of tokenizer.model shifted, <pad> and <mask> added */
	ROW_T5 = 32                                        /* <extra_id_N> behind the vocabulary, backwards */
};
struct folder_row {
	const char *names;                                 /* tokenizer_class, model_type: each between spaces */
	unsigned flags;
	const char *post;                                  /* b(os) e(os) s(ep) c(ls), '.' for the text: "c.s" */
	const char *token[N_TOKEN];                        /* by role; NULL: none */
	const char *normalizer, *pre_tokenizer, *end;      /* JSON, or NULL; what ends a word */
};
struct folder {
	char dir[FOLDER_MAX_PATH];
	json_t *config, *map, *added, *generation, *model; /* the JSON files, NULL where absent */
	const struct folder_row *row;
	struct extra *extra;
	int n_extra, n_base;
	json_t *seen, *made;                               /* texts of the extras; texts that are ours */
	const char *token[N_TOKEN];                        /* texts of the roles, NULL: none */
};
/* Reads the JSON files of f->dir for a vocabulary of the kind ROW_VOCAB, ROW_TXT or ROW_SPM; 0: for a tokenizer.json. */
int folder_read(struct folder *f, unsigned kind, struct lm_err *err);
void folder_free(struct folder *f);
/* 1 when dir/name exists and is a file; its path goes to path. */
bool folder_has(const struct folder *f, const char *name, char path[FOLDER_MAX_PATH]);
/* Settings of tokenizer_config.json; LM_EFORMAT when of another type. */
int folder_bool(const struct folder *f, const char *key, bool *v, struct lm_err *err);

/* Ids for the extras that state none, given the base vocabulary; *n_all: tokens with them.  text: of token id of the
 * base, NULL: none. */
typedef const char *folder_text(const void *vocab, int id, size_t *n);
int folder_place(struct folder *f, int n_base, folder_text *text, const void *vocab, int *n_all, struct lm_err *err);
/* The texts of the extras enter t, before vocab_index. */
int folder_texts(const struct folder *f, struct tok *t, struct lm_err *err);
/* After vocab_index, with t->norm made: extras as added tokens, roles, post-processor, ends of generation. */
int folder_apply(const struct folder *f, struct tok *t, struct lm_err *err);
/* Of these, roles and ends alone: what stands beside a tokenizer.json. */
int folder_roles(const struct folder *f, struct tok *t, struct lm_err *err);

/* Loaders.  path: for messages, and to be read where there is no data. */
int spm_load(struct tok **out, struct folder *f, const char *path, const void *data, size_t size, struct lm_err *err);
int vocab_json_load(struct tok **out, struct folder *f, const char *path, struct lm_err *err);
int vocab_txt_load(struct tok **out, struct folder *f, const char *path, struct lm_err *err);
int tekken_load(struct tok **out, struct folder *f, const char *path, struct lm_err *err);
int tiktoken_load(struct tok **out, struct folder *f, const char *path, struct lm_err *err);
bool tiktoken_is(const void *data, size_t size);           /* its first line, rather than a protobuf message */
