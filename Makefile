# lmrun - one Makefile.  `make demo` and `make test` do everything on a fresh Debian machine; `make` alone needs a C
# compiler and the libraries named in README.md.
#   CONFIG=release|debug   SAN=address,undefined   CUDA=0|1|auto   METAL=0|1   WERROR=1   CROSS=aarch64-linux-gnu-
CONFIG ?= release
SAN    ?=
CUDA   ?= 0
METAL  ?= 0
WERROR ?=
CROSS  ?=
CC     := $(if $(filter default undefined,$(origin CC)),$(CROSS)gcc,$(CC))
PREFIX ?= /usr/local
BUILD  ?= build/$(CONFIG)$(if $(SAN),-san)$(if $(CROSS),-$(CROSS:-=))
MACHINE := $(shell $(CC) -dumpmachine 2>/dev/null)
# CUDA=auto: with CUDA where nvcc and g++ are; never in a cross or sanitizer build
FOUND  := $(if $(filter 0,$(CUDA))$(CROSS)$(SAN),,$(and $(shell command -v g++),$(shell command -v nvcc)))
NVCC   := $(FOUND)
ifeq ($(CUDA)$(FOUND),1)
$(error CUDA=1 needs nvcc and g++ on the PATH, and neither CROSS nor SAN)
endif
ifneq ($(filter-out 0,$(METAL)),)
$(error METAL=$(METAL): there is no Metal backend yet, on macOS or elsewhere; src/metal/metal.h says what goes there)
endif

WARN   := -Wall -Wextra -Wshadow -Wstrict-prototypes -Wmissing-prototypes -Wvla -Wformat=2 $(if $(WERROR),-Werror)
STRICT := -Wconversion
HARD   := -fstack-protector-strong $(if $(SAN),,-D_FORTIFY_SOURCE=2) -fPIE
# sanitized: -O1, for gcc takes minutes over the unrolled kernels otherwise
OPT    := $(if $(filter debug,$(CONFIG)),-O1 -g -DLM_DEBUG,$(if $(SAN),-O1,-O3) -g1)
# -ffp-contract=off and no -ffast-math: the contract of bytes (src/kernels/exact.h)
CFLAGS := -std=c11 -D_GNU_SOURCE $(OPT) $(WARN) $(HARD) -ffp-contract=off -fno-math-errno -pthread -Isrc \
          $(if $(SAN),-fsanitize=$(SAN) -fno-sanitize-recover=all -fno-omit-frame-pointer)
LDFLAGS := -pie -pthread -Wl,-z,relro,-z,now $(if $(SAN),-fsanitize=$(SAN))
# static archives: the binary needs libc alone
LIBS   := -l:libevent_extra.a -l:libevent_pthreads.a -l:libevent_core.a -l:libjansson.a -l:libpcre2-8.a \
          -l:libutf8proc.a -l:libedit.a -l:libtinfo.a -l:libbsd.a -l:libmd.a -lm -ldl

DIRS   := base quant format tokenizer kernels model engine server cli
KDIRS  := base quant kernels
SRC    := $(foreach d,$(DIRS),$(wildcard src/$(d)/*.c)) $(if $(NVCC),src/cuda/cuda.c src/cuda/runtime.c,src/cuda/cuda_stub.c) \
          src/metal/metal_stub.c
ifneq ($(filter x86_64%,$(MACHINE)),)
ISA    := $(wildcard src/kernels/x86/*.c)
else ifneq ($(filter aarch64%,$(MACHINE)),)
ISA    := $(wildcard src/kernels/arm/*.c)
endif
SRC    := $(wildcard $(SRC)) $(ISA)
OBJ    := $(SRC:%.c=$(BUILD)/%.o) $(if $(NVCC),$(BUILD)/src/cuda/kernels.nv.o)
LIBOBJ := $(filter-out $(BUILD)/src/cli/%,$(OBJ))
KOBJ   := $(filter-out %/json.o %/opt.o,$(filter $(foreach d,$(KDIRS),$(BUILD)/src/$(d)/%),$(OBJ)))
TSRC   := tests/main.c $(wildcard tests/*/test_*.c)
TOBJ   := $(TSRC:%.c=$(BUILD)/%.o)

# of the architectures we name, those that this nvcc knows; PTX of the last one for what comes after it
CUDAHOME := $(if $(NVCC),$(patsubst %/bin/,%,$(dir $(realpath $(NVCC)))))
SM     := $(filter $(if $(NVCC),$(patsubst compute_%,%,$(shell $(NVCC) --list-gpu-arch))),80 86 89 90 100 120)
SM     := $(filter $(SM),80 86 89 90) $(filter $(SM),100 120)
NVFLAGS := -std=c++17 -O3 -Isrc -t 2 -Werror all-warnings -Xcompiler -fPIE,-fno-exceptions,-fno-rtti,-fno-threadsafe-statics \
          $(foreach a,$(SM),-gencode arch=compute_$(a),code=sm_$(a)) \
          -gencode arch=compute_$(lastword $(SM)),code=compute_$(lastword $(SM))
ifneq ($(NVCC),)
LIBS   += -L$(CUDAHOME)/lib64 -l:libcudart_static.a -ldl -lrt -lpthread
$(BUILD)/src/cuda/runtime.o: ISAFLAGS := -isystem $(CUDAHOME)/include
endif

# instruction-set files and only they carry their flags
AVX2    := -mavx2 -mfma -mf16c
AVX512  := $(AVX2) -mavx512f -mavx512bw -mavx512vl -mavx512dq -mprefer-vector-width=512
$(BUILD)/src/kernels/x86/avx2_%.o:       ISAFLAGS := $(AVX2)
$(BUILD)/src/kernels/x86/avxvnni_%.o:    ISAFLAGS := $(AVX2) -mavxvnni
$(BUILD)/src/kernels/x86/avx512_%.o:     ISAFLAGS := $(AVX512)
$(BUILD)/src/kernels/x86/avx512vnni_%.o: ISAFLAGS := $(AVX512) -mavx512vnni
$(BUILD)/src/kernels/x86/avx512vbmi_%.o: ISAFLAGS := $(AVX512) -mavx512vnni -mavx512vbmi
$(BUILD)/src/kernels/arm/dotprod_%.o:    ISAFLAGS := -march=armv8.2-a+dotprod
$(BUILD)/src/kernels/arm/i8mm_%.o:       ISAFLAGS := -march=armv8.2-a+dotprod+i8mm
$(BUILD)/src/kernels/%.o: STRICT :=
$(BUILD)/tests/%.o: STRICT :=
$(BUILD)/tests/%.o: CFLAGS += -Itests -Wno-missing-prototypes

# make V=1 shows the commands
$(if $(V),,$(eval .SILENT:))
.PHONY: all demo test nvcc-check laws deps limits bench bench-peers conformance models format clean install
all: lmrun

# a change of CUDA= links anew
$(BUILD)/cuda-$(if $(NVCC),on,off):
	@mkdir -p $(@D)
	@rm -f $(BUILD)/cuda-on $(BUILD)/cuda-off
	@touch $@
lmrun: $(OBJ) $(BUILD)/cuda-$(if $(NVCC),on,off)
	$(CC) $(LDFLAGS) -o $@ $(OBJ) $(LIBS)

$(BUILD)/%.o: %.c
	@mkdir -p $(@D)
	$(CC) $(CFLAGS) $(STRICT) $(ISAFLAGS) -MMD -MP -c -o $@ $<

$(BUILD)/%.nv.o: %.cu
	@mkdir -p $(@D)
	$(NVCC) $(NVFLAGS) -MMD -MP -c -o $@ $< || \
	  { echo "make: nvcc cannot compile $< (see above); make CUDA=0 leaves it out" >&2; exit 1; }

# the same kernels in the simulator of tests/cuda
CXX    := $(if $(filter default undefined,$(origin CXX)),$(CROSS)g++,$(CXX))
CXXFLAGS := -std=c++17 $(OPT) -Wall -Wextra -Wshadow -Wvla -Wformat=2 $(if $(WERROR),-Werror) $(HARD) -ffp-contract=off \
          -fno-exceptions -fno-rtti -Isrc -Itests/cuda $(if $(SAN),-fsanitize=$(SAN) -fno-sanitize-recover=all)
SIMOBJ := $(addprefix $(BUILD)/sim/,kernels.o planted.o sim.o) $(BUILD)/src/cuda/cuda.o
$(BUILD)/sim/%.o: src/cuda/%.cu
	@mkdir -p $(@D)
	$(CXX) $(CXXFLAGS) -MMD -MP -x c++ -c -o $@ $<
$(BUILD)/sim/%.o: tests/cuda/%.cu
	@mkdir -p $(@D)
	$(CXX) $(CXXFLAGS) -MMD -MP -x c++ -c -o $@ $<
$(BUILD)/sim/%.o: tests/cuda/%.cpp
	@mkdir -p $(@D)
	$(CXX) $(CXXFLAGS) -MMD -MP -c -o $@ $<
$(BUILD)/tests/cuda/check_cuda.o: CFLAGS += -Itests/cuda
$(BUILD)/test_cuda: $(BUILD)/tests/cuda/check_cuda.o $(BUILD)/tests/main.o $(SIMOBJ) $(KOBJ)
	$(CXX) $(LDFLAGS) -o $@ $^ -lcmocka -lm

$(BUILD)/test: $(TOBJ) $(LIBOBJ)
	$(CC) $(LDFLAGS) -o $@ $^ -lcmocka $(LIBS)

# base, quant and kernels only: runs under sanitizers, guard pages and qemu-user
$(BUILD)/check_kern: $(BUILD)/tests/check_kern.o $(KOBJ)
	$(CC) $(LDFLAGS) -o $@ $^ -lm

# ---- two commands do all the set-up: make demo, make test ------------------------------------------------------------
demo:
	@tools/setup.sh build
	@$(MAKE) --no-print-directory lmrun
	@tools/models.sh smollm2
	./lmrun -m models/SmolLM2-135M-Instruct.Q4_1.gguf -p "Why is the sky blue?" -s 42 -n 80

models:
	@tools/models.sh

test:
	@tools/setup.sh test
	@tools/models.sh
	@tools/venv.sh
	@$(MAKE) --no-print-directory lmrun $(BUILD)/test $(BUILD)/test_cuda $(BUILD)/check_kern
	@$(MAKE) --no-print-directory $(if $(findstring command,$(origin CUDA)),,CUDA=auto) nvcc-check
	@$(MAKE) --no-print-directory CROSS=aarch64-linux-gnu- CONFIG=release SAN= build/release-aarch64-linux-gnu/check_kern
	@python3 tools/run_tests.py $(BUILD)

# what the simulator lets pass, nvcc does not
nvcc-check: $(if $(NVCC),$(BUILD)/src/cuda/kernels.nv.o)
	@$(if $(NVCC),:,echo "make: src/cuda/kernels.cu is not compiled by nvcc in this build, it runs in the simulator only" >&2)

laws:
	@python3 tools/laws.py
deps:
	@python3 tools/laws.py deps

# what this machine can do at most
$(BUILD)/limits: $(BUILD)/tools/limits.o $(BUILD)/src/cli/bench_limits.o $(KOBJ)
	$(CC) $(LDFLAGS) -o $@ $^ -lm
limits: $(BUILD)/limits
	$(BUILD)/limits
bench: lmrun models
	./lmrun bench -m models/SmolLM2-135M-Instruct.Q4_1.gguf -m models/gemma-3-270m-q4_k_m.gguf
	./lmrun bench --f32
bench-peers: lmrun $(BUILD)/limits models
	@LIMITS=$(BUILD)/limits python3 tools/bench_peers.py
# the tokenizers against their reference libraries, and converted models in llama.cpp (downloads packages and builds
# llama.cpp once, about 30 minutes)
conformance: lmrun models
	@python3 tools/conformance_tok.py
	@python3 tools/conformance_chat.py build/conformance/templates build/conformance/vocab models
	@python3 tools/conformance_models.py

install: lmrun
	install -Dm755 lmrun $(DESTDIR)$(PREFIX)/bin/lmrun

# make fuzz-gguf FUZZ_TIME=600: any target of tests/fuzz, seeded with its committed corpus; finds go to build/fuzz
FUZZ_TIME ?= 60
FUZZ_MAKE := $(MAKE) --no-print-directory CC=clang CONFIG=debug CUDA=0 SAN=fuzzer-no-link,address,undefined
fuzz-%:
	@$(FUZZ_MAKE) BUILD=build/fuzz build/fuzz/fuzz_$*
	@mkdir -p build/fuzz/corpus/$*
	build/fuzz/fuzz_$* -max_total_time=$(FUZZ_TIME) -timeout=5 -rss_limit_mb=1024 -print_final_stats=1 \
	  $(patsubst %,-dict=%,$(wildcard tests/fuzz/$*.dict)) -artifact_prefix=build/fuzz/ \
	  build/fuzz/corpus/$* tests/fuzz/corpus/$*

# readers of weights need no tokenizer, and no reader more than that
FUZZ_WEIGHTS := gguf safetensors torch layouts hfmap adapter
fuzz_dirs = base quant format $(if $(filter $(1),$(FUZZ_WEIGHTS)),,tokenizer)
fuzz_objs = $(filter $(foreach d,$(call fuzz_dirs,$(1)),$(BUILD)/src/$(d)/%),$(LIBOBJ))
.SECONDEXPANSION:
$(BUILD)/fuzz_%: $(BUILD)/tests/fuzz/fuzz_%.o $$(call fuzz_objs,$$*)
	$(CC) $(LDFLAGS) -fsanitize=fuzzer -o $@ $^ $(LIBS)
.PRECIOUS: $(BUILD)/%.o

clean:
	rm -rf build lmrun

format:
	clang-format -i $(shell git ls-files 'src/*.c' 'src/*.h' 'tests/*.c' 'tests/*.h')

-include $(OBJ:.o=.d) $(TOBJ:.o=.d) $(SIMOBJ:.o=.d) $(BUILD)/tests/check_kern.d $(BUILD)/tests/cuda/check_cuda.d $(BUILD)/tools/limits.d
