/* norm_cluster.h - extended grapheme clusters (UAX #29). */
#pragma once
#include <stddef.h>
#include <stdint.h>

/* Bytes of the cluster that s[0..n) begins with, n > 0, valid UTF-8; flags: of norm_flags_new. */
size_t norm_cluster(const uint16_t *flags, const char *s, size_t n);
