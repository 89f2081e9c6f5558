/* pb.c - the wire format of protocol buffers, read field by field. */
#include "tokenizer/pb.h"

enum { GROUP_BEGIN = 3, GROUP_END = 4, MAX_GROUPS = 100 };

static uint64_t varint(struct pb *r)
{
	uint64_t v = 0;
	for (unsigned shift = 0; shift < 70 && r->p < r->end; shift += 7) {
		uint8_t b = *r->p++;
		if (shift < 64) v |= (uint64_t)(b & 0x7F) << shift;
		if (!(b & 0x80)) return v;
	}
	r->bad = true;                                     /* it ends within, or is longer than ten bytes */
	return 0;
}

static uint64_t fixed(struct pb *r, unsigned n)
{
	uint64_t v = 0;
	if ((size_t)(r->end - r->p) < n) {
		r->bad = true;
		return 0;
	}
	for (unsigned i = 0; i < n; i++) v |= (uint64_t)r->p[i] << 8 * i;
	r->p += n;
	return v;
}

static void bytes(struct pb *r, struct pb_field *f)
{
	uint64_t n = varint(r);
	if (r->bad || n > (uint64_t)(r->end - r->p)) {
		r->bad = true;
		return;
	}
	f->p = r->p;
	f->n = (size_t)n;
	r->p += n;
}

static bool refuse(struct pb *r)
{
	r->bad = true;
	return false;
}

bool pb_next(struct pb *r, struct pb_field *f)
{
	uint32_t group[MAX_GROUPS];
	int depth = 0;
	while (!r->bad && r->p < r->end) {
		uint64_t tag = varint(r);
		*f = (struct pb_field){ .num = (uint32_t)(tag >> 3), .wire = tag & 7 };
		if (r->bad || tag > UINT32_MAX || f->num == 0) return refuse(r);
		if (f->wire == GROUP_BEGIN) {
			if (depth == MAX_GROUPS) return refuse(r);
			group[depth++] = f->num;
			continue;
		}
		if (f->wire == GROUP_END) {
			if (depth == 0 || group[--depth] != f->num) return refuse(r);
			continue;
		}
		if (f->wire == PB_VARINT) f->v = varint(r);
		else if (f->wire == PB_FIXED64) f->v = fixed(r, 8);
		else if (f->wire == PB_FIXED32) f->v = fixed(r, 4);
		else if (f->wire == PB_BYTES) bytes(r, f);
		else return refuse(r);
		if (!r->bad && depth == 0) return true;
	}
	return depth ? refuse(r) : false;
}
