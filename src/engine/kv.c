/* kv.c - see kv.h.
 *
 * A block is in one of four states: free (ref 0, not in the tree), private (ref > 0, not in the tree), shared (in
 * the tree, ref > 0), cached (in the tree, ref 0: evictable).  Free and cached blocks wait in two lists.
 *
 * GOTCHAS: who holds a block holds its ancestors, and releases tails first; so in the list of cached blocks, least
 * recently used first, a block always stands before its parent and the head of the list is a leaf.  Publishing a
 * block that the tree already has drops ours for the one there: by the contract of bytes they are equal. */
#include "engine/kv.h"
#include <string.h>

struct block {
	int32_t ref;
	int32_t parent, child, next_sib;     /* in the tree; parent -1: a root; children singly linked */
	int32_t prev, next;                  /* in the free or the cached list */
	bool in_tree;
	uint64_t salt;                       /* of a published block, and its tokens */
	int32_t tok[KV_BLOCK];
};
struct list { int32_t head, tail; int n; };
struct kv_pool { struct block *b; int n; int32_t root; struct list free, cached; };

static void list_add(struct kv_pool *p, struct list *l, int32_t i)
{
	p->b[i].prev = l->tail;
	p->b[i].next = -1;
	if (l->tail >= 0) p->b[l->tail].next = i;
	else l->head = i;
	l->tail = i;
	l->n++;
}

static void list_del(struct kv_pool *p, struct list *l, int32_t i)
{
	struct block *b = &p->b[i];
	if (b->prev >= 0) p->b[b->prev].next = b->next;
	else l->head = b->next;
	if (b->next >= 0) p->b[b->next].prev = b->prev;
	else l->tail = b->prev;
	l->n--;
}

int kv_new(struct kv_pool **out, int n_blocks, struct lm_err *err)
{
	*out = NULL;
	struct kv_pool *p = lm_calloc(1, sizeof *p);
	if (p) p->b = lm_calloc((size_t)n_blocks, sizeof *p->b);
	if (!p || !p->b) {
		lm_free(p);
		return lm_fail(err, LM_ENOMEM, "out of memory for a table of %d KV blocks", n_blocks);
	}
	p->n = n_blocks;
	p->root = p->free.head = p->free.tail = p->cached.head = p->cached.tail = -1;
	for (int i = 0; i < n_blocks; i++) {
		p->b[i].parent = p->b[i].child = p->b[i].next_sib = -1;
		list_add(p, &p->free, i);
	}
	*out = p;
	return 0;
}

void kv_free(struct kv_pool *p)
{
	if (!p) return;
	lm_free(p->b);
	lm_free(p);
}

int kv_n_free(const struct kv_pool *p) { return p->free.n + p->cached.n; }

static int32_t *children(struct kv_pool *p, int32_t parent)
{
	return parent < 0 ? &p->root : &p->b[parent].child;
}

/* The published child of `parent` that holds these KV_BLOCK tokens under this salt, or -1. */
static int32_t find(struct kv_pool *p, int32_t parent, uint64_t salt, const int32_t *tok)
{
	int32_t i = *children(p, parent);
	while (i >= 0 && (p->b[i].salt != salt || memcmp(p->b[i].tok, tok, sizeof p->b[i].tok) != 0)) i = p->b[i].next_sib;
	return i;
}

static void hold(struct kv_pool *p, int32_t i)
{
	if (p->b[i].ref++ == 0) list_del(p, p->b[i].in_tree ? &p->cached : &p->free, i);
}

static void drop(struct kv_pool *p, int32_t i)
{
	if (--p->b[i].ref == 0) list_add(p, p->b[i].in_tree ? &p->cached : &p->free, i);
}

/* Takes the least recently used cached block, a leaf, out of the tree; it is free then. */
static void evict(struct kv_pool *p)
{
	int32_t i = p->cached.head;
	int32_t *at = children(p, p->b[i].parent);
	while (*at != i) at = &p->b[*at].next_sib;
	*at = p->b[i].next_sib;
	list_del(p, &p->cached, i);
	p->b[i].in_tree = false;
	p->b[i].parent = p->b[i].next_sib = -1;
	list_add(p, &p->free, i);
}

int kv_match(struct kv_pool *p, struct kv_seq *s, uint64_t salt, const int32_t *tok, int n_tok)
{
	int32_t at = -1;
	while ((s->n + 1) * KV_BLOCK < n_tok && s->n < s->cap) {
		at = find(p, at, salt, tok + s->n * KV_BLOCK);
		if (at < 0) break;
		hold(p, at);
		s->table[s->n++] = at;
	}
	s->n_pub = s->n;
	return s->n * KV_BLOCK;
}

bool kv_grow(struct kv_pool *p, struct kv_seq *s, int n_pos)
{
	while (s->n * KV_BLOCK < n_pos) {
		if (s->n == s->cap) return false;
		if (p->free.n == 0 && p->cached.n > 0) evict(p);
		if (p->free.n == 0) return false;
		int32_t i = p->free.head;
		hold(p, i);
		s->table[s->n++] = i;
	}
	return true;
}

void kv_publish(struct kv_pool *p, struct kv_seq *s, uint64_t salt, const int32_t *tok, int n_done)
{
	for (; (s->n_pub + 1) * KV_BLOCK <= n_done; s->n_pub++) {
		int32_t parent = s->n_pub ? s->table[s->n_pub - 1] : -1, mine = s->table[s->n_pub];
		const int32_t *t = tok + s->n_pub * KV_BLOCK;
		int32_t twin = find(p, parent, salt, t);
		if (twin >= 0) {
			hold(p, twin);
			drop(p, mine);
			s->table[s->n_pub] = twin;
			continue;
		}
		struct block *b = &p->b[mine];
		b->salt = salt;
		memcpy(b->tok, t, sizeof b->tok);
		b->in_tree = true;
		b->parent = parent;
		b->child = -1;
		b->next_sib = *children(p, parent);
		*children(p, parent) = mine;
	}
}

void kv_release(struct kv_pool *p, struct kv_seq *s)
{
	while (s->n > 0) drop(p, s->table[--s->n]);
	s->n_pub = 0;
}

static bool in_list(const struct kv_pool *p, const struct list *l, int32_t want)
{
	for (int32_t i = l->head; i >= 0; i = p->b[i].next)
		if (i == want) return true;
	return false;
}

bool kv_check(const struct kv_pool *p, const struct kv_seq *const *seqs, int n_seqs)
{
	int n_free = 0, n_cached = 0;
	for (int32_t i = 0; i < p->n; i++) {
		const struct block *b = &p->b[i];
		int ref = 0;
		for (int k = 0; k < n_seqs; k++)
			for (int j = 0; j < seqs[k]->n; j++) ref += seqs[k]->table[j] == i;
		if (ref != b->ref) return false;
		if (b->parent >= 0 && (!p->b[b->parent].in_tree || p->b[b->parent].ref < b->ref)) return false;
		if (!b->in_tree && (b->parent >= 0 || b->child >= 0)) return false;
		if (ref == 0 && !in_list(p, b->in_tree ? &p->cached : &p->free, i)) return false;
		n_free += ref == 0 && !b->in_tree;
		n_cached += ref == 0 && b->in_tree;
	}
	int32_t head = p->cached.head;
	if (head >= 0 && p->b[head].child >= 0) return false;
	return n_free == p->free.n && n_cached == p->cached.n;
}
