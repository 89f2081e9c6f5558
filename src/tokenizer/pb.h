/* pb.h - pull reader of protobuf messages over memory: one field at a time, no schema, nothing copied.
 * Lengths are checked against what is left, nested groups are skipped in a loop: work is linear in the bytes. */
#pragma once
#include "base/base.h"

struct pb { const uint8_t *p, *end; bool bad; };           /* bad: sticky; the bytes are no protobuf message */
enum { PB_VARINT = 0, PB_FIXED64 = 1, PB_BYTES = 2, PB_FIXED32 = 5 };
struct pb_field {
	uint32_t num;
	uint8_t wire;                                      /* PB_* */
	uint64_t v;                                        /* the number of a varint or fixed field */
	const uint8_t *p;                                  /* of PB_BYTES: n bytes */
	size_t n;
};
static inline struct pb pb_begin(const void *p, size_t n)
{
	return (struct pb){ .p = p, .end = n ? (const uint8_t *)p + n : p };
}
/* The next field; groups are left out.  False at the end, or with r->bad set. */
bool pb_next(struct pb *r, struct pb_field *f);
