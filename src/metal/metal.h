/* metal.h - Apple GPUs behind the op table.  So far metal_stub.c is all there is, and `make METAL=1` says so.
 *
 * What goes here, after the pattern of src/cuda:
 *   kernels.metal  the kernels, in a subset that a host shim can run: an address space on every pointer,
 *                  buffer index = argument position, threadgroup arrays and vectors by macro, no swizzles
 *   shim.h         that shim, on the fibers of the CUDA one
 *   metal.m        the op table: one library, compiled from the kernels' text that the build puts into the
 *                  binary; weights wrapped from the mapped file without a copy (length rounded up to the
 *                  page); one command buffer and one serial encoder from begin() to end(); mat.base is an
 *                  MTLBuffer, mat.off the offset in it
 * In this order: norm, add, linear and their tests under the shim; the other operations; a Mac. */
#pragma once
#include "kernels/ops.h"

/* LM_EUNSUPPORTED in a build without Metal. */
int backend_metal(struct backend **out, struct lm_err *err);
void metal_list(struct lm_buf *b); /* one line per GPU, or one that says why there is none */
