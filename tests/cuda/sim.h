/* sim.h - the test's hold on the simulator of sim.cpp. */
#pragma once
#ifdef __cplusplus
extern "C" {
#endif

/* The order in which the threads of a block run between two barriers: no result may depend on it. */
enum sim_order { SIM_FORWARD, SIM_REVERSE, SIM_SHUFFLED /* warps, and lanes within each */, SIM_ORDERS };
void sim_set_order(enum sim_order o);
/* The first thing that went wrong since the last call, or NULL.  gpu_wait tells it too, and forgets it. */
const char *sim_fault(void);

/* planted.cu: kernels with one bug each, and the conversions of shim.h.  out: device memory. */
void planted_no_sync(float *out);        /* 64 values; the second barrier of a reused scratch is missing */
void planted_divergent_sync(float *out); /* half of the block goes to a barrier */
void planted_two_syncs(float *out);      /* the two halves go to different barriers */
void planted_lost_lane(float *out);      /* a lane returns before a full-mask shuffle */
void planted_overrun(float *out, int n); /* writes out[n] */
void planted_halves(float *f16, float *bf16); /* all 65536 of each */
void planted_shuffles(int *out);              /* 64: xor 5, then down 3 of it */

#ifdef __cplusplus
}
#endif
