/* A driver's library with two GPUs of 80 GiB, the second of which may be cut into two parts.

What it says is set by variables, which are read at each call:
  DOUBLE_INIT      the code that opening it ends with
  DOUBLE_NAME_1    the name of the second GPU
  DOUBLE_USED_n    MiB in use on a GPU, by whomever
  DOUBLE_FAIL_n    the code that asking for a GPU's memory ends with
  DOUBLE_LOST_n    the code that asking for a GPU ends with
  DOUBLE_POWER     the code that asking for power ends with
  DOUBLE_PIDS_n    who uses a GPU, as PID:MIB,PID:MIB; MIB -1 where the driver does not say
  DOUBLE_MIG       whether the second is cut

Signatures and codes: https://docs.nvidia.com/deploy/nvml-api/ */

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

typedef struct { int gpu, part; } device;
typedef struct { unsigned long long total, free, used; } memory;
typedef struct { unsigned gpu, memory; } utilization;
typedef struct { unsigned pid; unsigned long long used; unsigned group, compute; } process;

enum { OK = 0, UNINITIALIZED = 1, INVALID = 2, UNSUPPORTED = 3, NOT_FOUND = 6, TOO_SMALL = 7 };

static const unsigned long long MIB = 1ull << 20;
static device devices[] = {{0, -1}, {1, -1}, {1, 0}, {1, 1}};
static int opened_by = 0, times_opened = 0;

static const char *about(const char *name, int gpu) {
    char full[64];
    snprintf(full, sizeof full, gpu < 0 ? "DOUBLE_%s" : "DOUBLE_%s_%d", name, gpu);
    return getenv(full);
}

static long number(const char *name, int gpu, long otherwise) {
    const char *text = about(name, gpu);
    return text ? atol(text) : otherwise;
}

int double_times_opened(void) { return times_opened; }

int nvmlInitWithFlags(unsigned flags) {
    int failed = (int)number("INIT", -1, OK);
    if (!failed) { opened_by = getpid(); times_opened++; }
    return failed;
}

int nvmlShutdown(void) { opened_by = 0; return OK; }

const char *nvmlErrorString(int code) { return "an error of the double's"; }

/* What a parent opened is of no use to its forked child. */
static int closed(void) { return opened_by == getpid() ? OK : UNINITIALIZED; }

int nvmlDeviceGetCount_v2(unsigned *count) { *count = 2; return closed(); }

int nvmlDeviceGetHandleByIndex_v2(unsigned index, device **handle) {
    if (index > 1) return INVALID;
    *handle = &devices[index];
    return closed() ? UNINITIALIZED : (int)number("LOST", (int)index, OK);
}

int nvmlDeviceGetUUID(device *each, char *text, unsigned size) {
    if (each->part < 0) snprintf(text, size, "GPU-%d0000000-aaaa-bbbb-cccc-dddddddddddd", each->gpu + 1);
    else snprintf(text, size, "MIG-%d0000000-aaaa-bbbb-cccc-dddddddddddd", each->part + 5);
    return closed();
}

int nvmlDeviceGetName(device *each, char *text, unsigned size) {
    const char *other = each->gpu ? about("NAME", 1) : NULL;
    snprintf(text, size, "%s%s", other ? other : "NVIDIA H100 80GB HBM3", each->part < 0 ? "" : " MIG 3g.40gb");
    return closed();
}

int nvmlDeviceGetMigMode(device *each, unsigned *now, unsigned *pending) {
    if (each->gpu == 0) return UNSUPPORTED;
    *now = *pending = (unsigned)number("MIG", -1, 0);
    return closed();
}

int nvmlDeviceGetMaxMigDeviceCount(device *each, unsigned *count) { *count = 7; return closed(); }

int nvmlDeviceGetMigDeviceHandleByIndex(device *each, unsigned index, device **handle) {
    if (index > 1) return NOT_FOUND;
    *handle = &devices[2 + index];
    return closed();
}

int nvmlDeviceGetGpuInstanceId(device *each, unsigned *id) { *id = 1 + (unsigned)each->part; return closed(); }

int nvmlDeviceGetComputeInstanceId(device *each, unsigned *id) { *id = 0; return closed(); }

int nvmlDeviceGetMemoryInfo(device *each, memory *told) {
    int failed = (int)number("FAIL", each->gpu, OK);
    told->total = (each->part < 0 ? 80 * 1024 : 40 * 1024) * MIB;
    told->used = (unsigned long long)number("USED", each->gpu, 500) * MIB;
    told->free = told->total - told->used;
    return closed() ? UNINITIALIZED : failed;
}

int nvmlDeviceGetUtilizationRates(device *each, utilization *told) {
    told->gpu = 37; told->memory = 20;
    return each->part < 0 ? closed() : UNSUPPORTED;
}

int nvmlDeviceGetTemperature(device *each, int sensor, unsigned *told) {
    *told = 41;
    return each->part < 0 ? closed() : INVALID;
}

int nvmlDeviceGetPowerUsage(device *each, unsigned *told) {
    *told = 123456;
    return each->part < 0 ? (int)number("POWER", -1, closed()) : INVALID;
}

int nvmlDeviceGetEnforcedPowerLimit(device *each, unsigned *told) { *told = 700000; return closed(); }

int nvmlDeviceGetComputeRunningProcesses_v3(device *each, unsigned *count, process *told) {
    const char *text = about("PIDS", each->gpu);
    char copy[1024], *word;
    unsigned found = 0;
    snprintf(copy, sizeof copy, "%s", text ? text : "");
    for (word = strtok(copy, ","); word; word = strtok(NULL, ","), found++) {
        long long mib = atoll(strchr(word, ':') + 1);
        if (found < *count) told[found] = (process){(unsigned)atol(word), mib < 0 ? -1ull : mib * MIB, -1u, -1u};
    }
    int is_small = found > *count;
    *count = found;
    return closed() ? UNINITIALIZED : is_small ? TOO_SMALL : OK;
}
