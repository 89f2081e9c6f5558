/* letters.h - the byte-level alphabet of GPT-2: each byte shown as a letter.  0x21-0x7E, 0xA1-0xAC and 0xAE-0xFF
 * stand for themselves, the other 68 are U+0100 and on, in the order of the bytes. */
#pragma once
#include <stdint.h>

static inline uint32_t letter_cp(uint8_t b)
{
	if (b < 0x21) return 0x100u + b;
	if (b < 0x7F) return b;
	if (b < 0xA1) return 0x121u + (uint32_t)(b - 0x7F);
	return b == 0xAD ? 0x143 : b;
}

static inline int letter_byte(uint32_t cp) /* -1: no letter */
{
	if (cp >= 0x21 && cp <= 0xFF) return cp < 0x7F || (cp > 0xA0 && cp != 0xAD) ? (int)cp : -1;
	if (cp < 0x100 || cp > 0x143) return -1;
	if (cp < 0x121) return (int)(cp - 0x100);
	return cp < 0x143 ? (int)(cp - 0x121 + 0x7F) : 0xAD;
}
