/* A simulated libnvidia-ml.so.1 whose cards draw power that is known in closed form.
 *
 * Build:  cc -O2 -shared -fPIC -o libnvidia-ml.so.1 fake_nvml.c -lm
 * Use:    LD_LIBRARY_PATH=<its folder> python ...   (the real pynvml then loads it)
 *
 * The clock is CLOCK_MONOTONIC (on Linux: time.perf_counter and time.monotonic). Waves start at
 * clock 0, so every process sees the same phase and Python can compute the truth by itself:
 * tests/metering/fakes/fake_nvml.py does. The driver calls itself "simulated", so that no program
 * need mistake its values for measured ones.
 *
 * Control: environment variables, read at nvmlInit and at fake_nvml_reload(). Each may carry a
 * card's index at its end (FAKE_NVML_WAVE_1) and then wins over the plain name.
 *
 *   FAKE_NVML_COUNT         number of cards, 0 to 8                             (2)
 *   FAKE_NVML_INIT          code that nvmlInit returns, e.g. 9: no driver       (0)
 *   FAKE_NVML_NAME          product name            ("Simulated GPU A", "... B", ...)
 *   FAKE_NVML_UUID          ("GPU-" + index twice + "f2a3b1-0000-4000-8000-000000000000")
 *   FAKE_NVML_ARCH          architecture number: 5 Volta, 6 Turing, 7 Ampere    (9, Hopper)
 *   FAKE_NVML_CC            compute capability                                  ("9.0")
 *   FAKE_NVML_WAVE          "watts", or "low:high:period_s[:duty]", high first
 *                                       ("60:300:0.37" for even cards, "150" for odd ones)
 *   FAKE_NVML_COUNTER       no: the energy counter is not supported             (yes)
 *   FAKE_NVML_TICK_S        how often the counter moves; it shows the energy up to its last tick
 *                                                                               (0.1)
 *   FAKE_NVML_BURN_S        how long a read of the counter keeps a core busy     (0)
 *   FAKE_NVML_STILL_AT      clock time from which the counter stands still      (never)
 *   FAKE_NVML_RESET_AT      clock time at which the counter starts again at 0   (never)
 *   FAKE_NVML_INSTANT       field 186: yes | no | module (only for scope 1)     (yes)
 *   FAKE_NVML_INSTANT_TICK_S  how often field 186 is renewed                     (always)
 *   FAKE_NVML_INSTANT_SEEN_S  width of the mean behind it                        (0)
 *   FAKE_NVML_POWER         no: nvmlDeviceGetPowerUsage is not supported        (yes)
 *   FAKE_NVML_AVERAGE_S     width of the mean behind nvmlDeviceGetPowerUsage    (1.0)
 *   FAKE_NVML_ZERO          all power reads give 0 W: "always"; or every n-th   (never)
 *   FAKE_NVML_DIES_AT       clock time from which energy and power queries fail (never)
 *   FAKE_NVML_DIES_WITH     with this code: 15 GPU lost, 3 not supported        (15)
 *   FAKE_NVML_MIG           0 | 1: MIG mode; no: the card has no MIG            (0)
 *
 * Exported beside NVML: fake_nvml_reload(), fake_nvml_references() (open nvmlInit calls),
 * fake_nvml_energy_j(card, clock_s) and fake_nvml_power_w(card, clock_s) (the truth).
 */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

enum {
    SUCCESS = 0, UNINITIALIZED = 1, INVALID_ARGUMENT = 2, NOT_SUPPORTED = 3, NO_PERMISSION = 4,
    NOT_FOUND = 6, INSUFFICIENT_SIZE = 7, GPU_IS_LOST = 15
};
enum { MAX_CARDS = 8, FIELD_TOTAL_ENERGY = 83, FIELD_AVERAGE = 185, FIELD_INSTANT = 186 };

typedef struct {
    int index, arch, major, minor, mig, counter, power, instant, zero_every, dies_with;
    unsigned reads;
    char name[96], uuid[96], bus_id[32];
    double low, high, period, duty, tick, burn, instant_tick, instant_seen, average;
    double still_at, reset_at, dies_at;
} Card;

typedef struct {
    unsigned field, scope;
    long long timestamp_us, latency_us;
    int type, status;
    union { double d; unsigned u; unsigned long long ull; } value;
} FieldValue;

typedef struct {
    char legacy_id[16];
    unsigned domain, bus, device, device_id, subsystem_id;
    char bus_id[32];
} PciInfo;

typedef struct { unsigned gpu, memory; } Utilization;
typedef struct { unsigned long long total, free, used; } Memory;
typedef struct { unsigned version; unsigned long long total, reserved, free, used; } MemoryV2;
typedef struct { unsigned version; int sensor, celsius; } Temperature;

static Card cards[MAX_CARDS];
static int card_count, references;

static double now_s(void) {
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

/* -- configuration ------------------------------------------------------------------------- */

static const char *setting(const char *key, int card, const char *otherwise) {
    char name[64];
    const char *value;
    snprintf(name, sizeof name, "FAKE_NVML_%s_%d", key, card);
    if ((value = getenv(name))) return value;
    snprintf(name, sizeof name, "FAKE_NVML_%s", key);
    return (value = getenv(name)) ? value : otherwise;
}

static double number(const char *key, int card, double otherwise) {
    const char *value = setting(key, card, NULL);
    return value ? atof(value) : otherwise;
}

static int yes(const char *key, int card) { return strcmp(setting(key, card, "yes"), "no") != 0; }

static void configure(Card *c, int i) {
    char text[96];
    const char *value;
    unsigned reads = c->reads;
    memset(c, 0, sizeof *c);
    c->reads = reads;
    c->index = i;
    snprintf(text, sizeof text, "Simulated GPU %c", 'A' + i);
    snprintf(c->name, sizeof c->name, "%s", setting("NAME", i, text));
    snprintf(text, sizeof text, "GPU-%d%df2a3b1-0000-4000-8000-000000000000", i, i);
    snprintf(c->uuid, sizeof c->uuid, "%s", setting("UUID", i, text));
    snprintf(c->bus_id, sizeof c->bus_id, "00000000:%02X:00.0", 0x10 + 0x10 * i);
    c->arch = (int)number("ARCH", i, 9);
    sscanf(setting("CC", i, "9.0"), "%d.%d", &c->major, &c->minor);
    c->period = 1.0;
    c->duty = 0.5;
    if (sscanf(setting("WAVE", i, i % 2 ? "150" : "60:300:0.37"), "%lf:%lf:%lf:%lf", &c->low,
               &c->high, &c->period, &c->duty) == 1)
        c->high = c->low;
    c->counter = yes("COUNTER", i);
    c->power = yes("POWER", i);
    value = setting("INSTANT", i, "yes");
    c->instant = strcmp(value, "no") == 0 ? 0 : strcmp(value, "module") == 0 ? 2 : 1;
    c->tick = number("TICK_S", i, 0.1);
    c->burn = number("BURN_S", i, 0);
    c->instant_tick = number("INSTANT_TICK_S", i, 0);
    c->instant_seen = number("INSTANT_SEEN_S", i, 0);
    c->average = number("AVERAGE_S", i, 1.0);
    value = setting("ZERO", i, "0");
    c->zero_every = strcmp(value, "always") == 0 ? 1 : atoi(value);
    c->still_at = number("STILL_AT", i, INFINITY);
    c->reset_at = number("RESET_AT", i, INFINITY);
    c->dies_at = number("DIES_AT", i, INFINITY);
    c->dies_with = (int)number("DIES_WITH", i, GPU_IS_LOST);
    value = setting("MIG", i, "0");
    c->mig = strcmp(value, "no") == 0 ? -1 : atoi(value);
}

void fake_nvml_reload(void) {
    const char *count = getenv("FAKE_NVML_COUNT");
    card_count = count ? atoi(count) : 2;
    if (card_count > MAX_CARDS) card_count = MAX_CARDS;
    for (int i = 0; i < card_count; i++) configure(&cards[i], i);
}

int fake_nvml_references(void) { return references; }

/* -- the truth ----------------------------------------------------------------------------- */

static double energy_j(const Card *c, double t) {
    double whole = floor(t / c->period), rest = t - whole * c->period, on = c->duty * c->period;
    double cycle = on * c->high + (c->period - on) * c->low;
    return whole * cycle + fmin(rest, on) * c->high + fmax(rest - on, 0) * c->low;
}

static double power_w(const Card *c, double t) {
    return t - floor(t / c->period) * c->period < c->duty * c->period ? c->high : c->low;
}

double fake_nvml_energy_j(int card, double clock_s) { return energy_j(&cards[card], clock_s); }
double fake_nvml_power_w(int card, double clock_s) { return power_w(&cards[card], clock_s); }

/* -- what the sensors show of it ------------------------------------------------------------ */

static unsigned long long counter_mj(const Card *c, double t) {
    double seen = floor(fmin(t, c->still_at) / c->tick) * c->tick;
    double base = t >= c->reset_at ? energy_j(c, c->reset_at) : 0;
    return (unsigned long long)(1000 * fmax(energy_j(c, seen) - base, 0));
}

static unsigned power_mw(Card *c, double watts) {
    c->reads++;
    return c->zero_every && c->reads % (unsigned)c->zero_every == 0 ? 0 : (unsigned)(1000 * watts);
}

static double mean_w(const Card *c, double t, double width) {
    if (width <= 0) return power_w(c, t);
    return (energy_j(c, t) - energy_j(c, t - width)) / width;
}

static double average_w(const Card *c, double t) { return mean_w(c, t, c->average); }

static double instant_w(const Card *c, double t) {
    double seen = c->instant_tick > 0 ? floor(t / c->instant_tick) * c->instant_tick : t;
    return mean_w(c, seen, c->instant_seen);
}

static void burn(const Card *c) {
    double end = now_s() + c->burn;
    while (now_s() < end) {}
}

static int check(const void *device) {
    if (!references) return UNINITIALIZED;
    for (int i = 0; i < card_count; i++)
        if (device == &cards[i]) return SUCCESS;
    return INVALID_ARGUMENT;
}

static int alive(const Card *c, double t) { return t >= c->dies_at ? c->dies_with : SUCCESS; }

#define DEVICE                                  \
    int status = check(device);                 \
    Card *c = device;                           \
    (void)c;                                    \
    if (status) return status
#define SENSOR                                  \
    DEVICE;                                     \
    double t = now_s();                         \
    if ((status = alive(c, t))) return status
#define SYSTEM if (!references) return UNINITIALIZED

/* -- NVML: library and system --------------------------------------------------------------- */

int nvmlInitWithFlags(unsigned flags) {
    int code = (int)number("INIT", 0, 0);
    (void)flags;
    if (code) return code;
    if (references++ == 0) fake_nvml_reload();
    return SUCCESS;
}
int nvmlInit_v2(void) { return nvmlInitWithFlags(0); }
int nvmlInit(void) { return nvmlInitWithFlags(0); }
int nvmlShutdown(void) {
    SYSTEM;
    references--;
    return SUCCESS;
}

const char *nvmlErrorString(int code) {
    switch (code) {
    case SUCCESS: return "Success";
    case UNINITIALIZED: return "Uninitialized";
    case INVALID_ARGUMENT: return "Invalid Argument";
    case NOT_SUPPORTED: return "Not Supported";
    case NO_PERMISSION: return "Insufficient Permissions";
    case NOT_FOUND: return "Not Found";
    case INSUFFICIENT_SIZE: return "Insufficient Size";
    case 9: return "Driver Not Loaded";
    case GPU_IS_LOST: return "GPU is lost";
    case 18: return "Driver/library version mismatch";
    default: return "Unknown Error";
    }
}

static int text(char *out, unsigned size, const char *value) {
    if (strlen(value) + 1 > size) return INSUFFICIENT_SIZE;
    strcpy(out, value);
    return SUCCESS;
}

int nvmlSystemGetDriverVersion(char *out, unsigned size) {
    SYSTEM;
    return text(out, size, "simulated 1.0");
}
int nvmlSystemGetNVMLVersion(char *out, unsigned size) {
    SYSTEM;
    return text(out, size, "13.simulated");
}
int nvmlSystemGetCudaDriverVersion_v2(int *out) { SYSTEM; *out = 13000; return SUCCESS; }
int nvmlSystemGetCudaDriverVersion(int *out) { return nvmlSystemGetCudaDriverVersion_v2(out); }

/* -- NVML: which cards ---------------------------------------------------------------------- */

int nvmlDeviceGetCount_v2(unsigned *out) { SYSTEM; *out = (unsigned)card_count; return SUCCESS; }
int nvmlDeviceGetCount(unsigned *out) { return nvmlDeviceGetCount_v2(out); }
int nvmlDeviceGetHandleByIndex_v2(unsigned index, void **out) {
    SYSTEM;
    if (index >= (unsigned)card_count) return INVALID_ARGUMENT;
    *out = &cards[index];
    return SUCCESS;
}
int nvmlDeviceGetHandleByIndex(unsigned index, void **out) {
    return nvmlDeviceGetHandleByIndex_v2(index, out);
}
int nvmlDeviceGetHandleByUUID(const char *uuid, void **out) {
    SYSTEM;
    for (int i = 0; i < card_count; i++)
        if (strcmp(cards[i].uuid, uuid) == 0) return *out = &cards[i], SUCCESS;
    return NOT_FOUND;
}
int nvmlDeviceGetHandleByPciBusId_v2(const char *bus_id, void **out) {
    SYSTEM;
    for (int i = 0; i < card_count; i++)
        if (strcmp(cards[i].bus_id, bus_id) == 0) return *out = &cards[i], SUCCESS;
    return NOT_FOUND;
}
int nvmlDeviceGetUUID(void *device, char *out, unsigned size) {
    DEVICE;
    return text(out, size, c->uuid);
}
int nvmlDeviceGetName(void *device, char *out, unsigned size) {
    DEVICE;
    return text(out, size, c->name);
}
int nvmlDeviceGetSerial(void *device, char *out, unsigned size) {
    DEVICE;
    return text(out, size, "0");
}
int nvmlDeviceGetPciInfo_v3(void *device, PciInfo *out) {
    DEVICE;
    memset(out, 0, sizeof *out);
    out->bus = (unsigned)(0x10 + 0x10 * c->index);
    snprintf(out->bus_id, sizeof out->bus_id, "%s", c->bus_id);
    snprintf(out->legacy_id, sizeof out->legacy_id, "%s", c->bus_id + 4);
    return SUCCESS;
}
int nvmlDeviceGetMigMode(void *device, unsigned *current, unsigned *pending) {
    DEVICE;
    if (c->mig < 0) return NOT_SUPPORTED;
    *current = *pending = (unsigned)c->mig;
    return SUCCESS;
}
int nvmlDeviceGetCudaComputeCapability(void *device, int *major, int *minor) {
    DEVICE;
    *major = c->major;
    *minor = c->minor;
    return SUCCESS;
}
int nvmlDeviceGetC2cModeInfoV(void *device, unsigned *enabled) {
    DEVICE;
    if (c->instant != 2) return NOT_SUPPORTED;
    *enabled = 1;
    return SUCCESS;
}

/* -- NVML: energy and power ----------------------------------------------------------------- */

int nvmlDeviceGetTotalEnergyConsumption(void *device, unsigned long long *out) {
    SENSOR;
    if (!c->counter) return NOT_SUPPORTED;
    burn(c);
    *out = counter_mj(c, t);
    return SUCCESS;
}
int nvmlDeviceGetPowerUsage(void *device, unsigned *out) {
    SENSOR;
    if (!c->power) return NOT_SUPPORTED;
    *out = power_mw(c, average_w(c, t));
    return SUCCESS;
}
int nvmlDeviceGetFieldValues(void *device, int count, FieldValue *values) {
    SENSOR;
    for (int i = 0; i < count; i++) {
        FieldValue *v = &values[i];
        int instant = c->instant && v->scope == (c->instant == 2);
        v->timestamp_us = (long long)(1e6 * t);
        v->latency_us = 0;
        v->type = 1; /* unsigned int */
        v->status = SUCCESS;
        if (v->field == FIELD_INSTANT && instant)
            v->value.u = power_mw(c, instant_w(c, t));
        else if (v->field == FIELD_AVERAGE && instant)
            v->value.u = power_mw(c, average_w(c, t));
        else if (v->field == FIELD_TOTAL_ENERGY && c->counter) {
            v->type = 3; /* unsigned long long */
            v->value.ull = counter_mj(c, t);
        } else
            v->status = NOT_SUPPORTED;
    }
    return SUCCESS;
}

/* -- NVML: constants that other tools and settings() ask for --------------------------------- */

#define CONSTANT(function, type, value)         \
    int function(void *device, type *out) {     \
        DEVICE;                                 \
        *out = (type)(value);                   \
        return SUCCESS;                         \
    }
CONSTANT(nvmlDeviceGetIndex, unsigned, c->index)
CONSTANT(nvmlDeviceGetMinorNumber, unsigned, c->index)
CONSTANT(nvmlDeviceGetBoardId, unsigned, c->index)
CONSTANT(nvmlDeviceGetArchitecture, unsigned, c->arch)
CONSTANT(nvmlDeviceGetPowerManagementMode, unsigned, 1)
CONSTANT(nvmlDeviceGetPowerManagementLimit, unsigned, 350000)
CONSTANT(nvmlDeviceGetPowerManagementDefaultLimit, unsigned, 400000)
CONSTANT(nvmlDeviceGetEnforcedPowerLimit, unsigned, 350000)
CONSTANT(nvmlDeviceGetPersistenceMode, unsigned, 1)
CONSTANT(nvmlDeviceGetComputeMode, unsigned, 0)
CONSTANT(nvmlDeviceGetPowerState, unsigned, 0)
CONSTANT(nvmlDeviceGetDisplayActive, unsigned, 0)

int nvmlDeviceGetPowerManagementLimitConstraints(void *device, unsigned *low, unsigned *high) {
    DEVICE;
    *low = 100000;
    *high = 400000;
    return SUCCESS;
}
int nvmlDeviceGetClockInfo(void *device, unsigned type, unsigned *out) {
    DEVICE;
    *out = type == 2 ? 2619 : 1410; /* memory clock, else graphics and SM clock, MHz */
    return SUCCESS;
}
int nvmlDeviceGetMaxClockInfo(void *device, unsigned type, unsigned *out) {
    DEVICE;
    *out = type == 2 ? 2619 : 1980;
    return SUCCESS;
}
int nvmlDeviceGetTemperature(void *device, unsigned sensor, unsigned *out) {
    DEVICE;
    (void)sensor;
    *out = 40;
    return SUCCESS;
}
int nvmlDeviceGetTemperatureV(void *device, Temperature *out) {
    DEVICE;
    out->celsius = 40;
    return SUCCESS;
}
int nvmlDeviceGetUtilizationRates(void *device, Utilization *out) {
    SENSOR;
    out->gpu = c->high > 0 ? (unsigned)(100 * power_w(c, t) / c->high) : 0;
    out->memory = 0;
    return SUCCESS;
}
int nvmlDeviceGetMemoryInfo(void *device, Memory *out) {
    DEVICE;
    *out = (Memory){40ULL << 30, 39ULL << 30, 1ULL << 30};
    return SUCCESS;
}
int nvmlDeviceGetMemoryInfo_v2(void *device, MemoryV2 *out) {
    DEVICE;
    *out = (MemoryV2){out->version, 40ULL << 30, 0, 39ULL << 30, 1ULL << 30};
    return SUCCESS;
}

#define NO_PROCESSES(function)                                  \
    int function(void *device, unsigned *count, void *out) {    \
        DEVICE;                                                 \
        (void)out;                                              \
        *count = 0;                                             \
        return SUCCESS;                                         \
    }
NO_PROCESSES(nvmlDeviceGetComputeRunningProcesses_v3)
NO_PROCESSES(nvmlDeviceGetComputeRunningProcesses_v2)
NO_PROCESSES(nvmlDeviceGetGraphicsRunningProcesses_v3)
NO_PROCESSES(nvmlDeviceGetGraphicsRunningProcesses_v2)
NO_PROCESSES(nvmlDeviceGetMPSComputeRunningProcesses_v3)

/* -- NVML: a simulated card cannot be set ----------------------------------------------------- */

#define REFUSED(function)           \
    int function(void *device) {    \
        DEVICE;                     \
        return NO_PERMISSION;       \
    }
REFUSED(nvmlDeviceSetPowerManagementLimit)
REFUSED(nvmlDeviceSetPersistenceMode)
REFUSED(nvmlDeviceSetGpuLockedClocks)
REFUSED(nvmlDeviceResetGpuLockedClocks)
REFUSED(nvmlDeviceSetMemoryLockedClocks)
REFUSED(nvmlDeviceResetMemoryLockedClocks)
