/* simulated GPU: the part of NVML that facts read, answered from /usr/lib/steelyard-lab/gpus.conf.
 *
 * The file has `key=value` lines: driver, memory_mib, model, one `gpu=BUS_ID` per device, `set=INDEX NAME VALUE` for
 * what a command changed (persistence, power_limit, compute_mode, ecc, mig; gi+ PROFILE, gi- SLOT, ci+ SLOT, ci- SLOT for
 * MIG's instances), and `fault=` lines: busy:INDEX (a process runs on it), lost:INDEX,
 * ecc:INDEX=COUNT, remap:INDEX (pending), rma:INDEX (a remap failed), link:INDEX=COUNT (that many NVLinks are down),
 * fabric:INDEX (not completed), throttle:INDEX=BITS, recovery:INDEX=ACTION, init:CODE. It is read at nvmlInit, so a
 * test changes it between two runs.
 * Names begin with "simulated GPU", so that nothing that shows them can be mistaken for hardware.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define MAX_GPUS 16
enum { OK = 0, UNINITIALIZED = 1, INVALID_ARGUMENT = 2, NOT_SUPPORTED = 3, NOT_FOUND = 6, GPU_IS_LOST = 15, IN_USE = 19,
       INSUFFICIENT_RESOURCES = 23 };

/* A GPU instance of MIG; the compute instance in it fills it. Figures of an H100 80GB. */
enum { PROFILES = 5, SLOTS = 7 };
static const struct { unsigned int id, slices, memory; const char *name; } profiles[PROFILES] = {
    {19, 1, 1, "MIG 1g.10gb"}, {14, 2, 2, "MIG 2g.20gb"}, {9, 3, 4, "MIG 3g.40gb"}, {5, 4, 4, "MIG 4g.40gb"}, {0, 7, 8, "MIG 7g.80gb"},
};
typedef struct { int used, profile, filled; } slot_t;

typedef struct {
    char bus[32];
    slot_t slots[SLOTS];
    int busy;
    int lost, remap_pending, remap_failed, links_down, no_fabric, recovery;
    int persistence, compute_mode, ecc_pending, mig_pending;
    unsigned int power_limit;
    unsigned long long ecc, throttle;
} gpu_t;
typedef struct { unsigned long long total, free, used; } memory_t;
typedef struct { unsigned int version; unsigned long long total, reserved, free, used; } memory_v2_t;
typedef struct { unsigned int gpu, memory; } utilization_t;
typedef struct {
    char bus_id_legacy[16];
    unsigned int domain, bus, device, pci_device_id, pci_subsystem_id;
    char bus_id[32];
} pci_t;

static gpu_t gpus[MAX_GPUS];
static unsigned int count;
static unsigned long long memory_mib = 81559;
static char driver[80] = "580.95.05", model[96] = "NVIDIA H100 80GB HBM3";
static int ready, init_code;

static void fault(const char *text) {
    unsigned int index;
    unsigned long long number;
    if (sscanf(text, "busy:%u", &index) == 1 && index < MAX_GPUS) gpus[index].busy = 1;
    else if (sscanf(text, "lost:%u", &index) == 1 && index < MAX_GPUS) gpus[index].lost = 1;
    else if (sscanf(text, "ecc:%u=%llu", &index, &number) == 2 && index < MAX_GPUS) gpus[index].ecc = number;
    else if (sscanf(text, "remap:%u", &index) == 1 && index < MAX_GPUS) gpus[index].remap_pending = 1;
    else if (sscanf(text, "rma:%u", &index) == 1 && index < MAX_GPUS) gpus[index].remap_failed = 1;
    else if (sscanf(text, "link:%u=%llu", &index, &number) == 2 && index < MAX_GPUS) gpus[index].links_down = (int)number;
    else if (sscanf(text, "fabric:%u", &index) == 1 && index < MAX_GPUS) gpus[index].no_fabric = 1;
    else if (sscanf(text, "throttle:%u=%llu", &index, &number) == 2 && index < MAX_GPUS) gpus[index].throttle = number;
    else if (sscanf(text, "recovery:%u=%llu", &index, &number) == 2 && index < MAX_GPUS) gpus[index].recovery = (int)number;
    else sscanf(text, "init:%d", &init_code);
}

static int profile_of(unsigned int id) {
    for (int at = 0; at < PROFILES; at++)
        if (profiles[at].id == id) return at;
    return -1;
}
/* The slot that a new instance of this profile takes; -1 where the GPU has no room for it. */
static int room(const gpu_t *gpu, int profile) {
    unsigned int slices = profiles[profile].slices, memory = profiles[profile].memory;
    int free_slot = -1;
    for (int at = SLOTS - 1; at >= 0; at--) {
        if (!gpu->slots[at].used) free_slot = at;
        else slices += profiles[gpu->slots[at].profile].slices, memory += profiles[gpu->slots[at].profile].memory;
    }
    return slices <= 7 && memory <= 8 ? free_slot : -1;
}

static void setting(const char *text) {
    unsigned int index;
    int value;
    char name[32];
    if (sscanf(text, "%u %31s %d", &index, name, &value) != 3 || index >= MAX_GPUS) return;
    if (!strcmp(name, "persistence")) gpus[index].persistence = value;
    else if (!strcmp(name, "power_limit")) gpus[index].power_limit = (unsigned int)value * 1000;
    else if (!strcmp(name, "compute_mode")) gpus[index].compute_mode = value;
    else if (!strcmp(name, "ecc")) gpus[index].ecc_pending = value;
    else if (!strcmp(name, "mig")) gpus[index].mig_pending = value;
    else if (!strcmp(name, "gi+")) {
        int profile = profile_of((unsigned int)value), slot = profile < 0 ? -1 : room(&gpus[index], profile);
        if (slot >= 0) gpus[index].slots[slot] = (slot_t){1, profile, 0};
    } else if (value >= 0 && value < SLOTS) {
        slot_t *slot = &gpus[index].slots[value];
        if (!strcmp(name, "gi-")) slot->used = 0;
        else if (!strcmp(name, "ci+")) slot->filled = 1;
        else if (!strcmp(name, "ci-")) slot->filled = 0;
    }
}

int nvmlInit_v2(void) {
    const char *path = getenv("STEELYARD_LAB_GPUS");
    FILE *file = fopen(path ? path : "/usr/lib/steelyard-lab/gpus.conf", "r");
    char line[256];
    if (!file) return 9; /* driver not loaded */
    memset(gpus, 0, sizeof gpus);
    for (int index = 0; index < MAX_GPUS; index++) {
        gpus[index].persistence = gpus[index].ecc_pending = 1;
        gpus[index].power_limit = 700000;
    }
    count = 0;
    init_code = 0;
    while (fgets(line, sizeof line, file)) {
        line[strcspn(line, "\n")] = 0;
        if (!strncmp(line, "driver=", 7)) snprintf(driver, sizeof driver, "%.70s", line + 7);
        else if (!strncmp(line, "model=", 6)) snprintf(model, sizeof model, "%.80s", line + 6);
        else if (!strncmp(line, "memory_mib=", 11)) memory_mib = strtoull(line + 11, 0, 10);
        else if (!strncmp(line, "gpu=", 4) && count < MAX_GPUS) snprintf(gpus[count++].bus, 32, "%.30s", line + 4);
        else if (!strncmp(line, "set=", 4)) setting(line + 4);
        else if (!strncmp(line, "fault=", 6)) fault(line + 6);
    }
    fclose(file);
    if (init_code) return init_code;
    if (!driver[0]) return 9; /* driver not loaded */
#ifdef LIBRARY_VERSION
    if (strcmp(driver, LIBRARY_VERSION)) return 18; /* the library is of another driver than the module */
#endif
    ready = 1;
    return OK;
}
int nvmlInit(void) { return nvmlInit_v2(); }
/* With NO_ATTACH a real NVML knows only GPUs that somebody uses (driver 580, H200): none here. */
int nvmlInitWithFlags(unsigned int flags) {
    int code = nvmlInit_v2();
    if (code == OK && (flags & 2)) count = 0;
    return code;
}
int nvmlShutdown(void) { ready = 0; return OK; }
const char *nvmlErrorString(int code) {
    switch (code) {
    case OK: return "Success";
    case UNINITIALIZED: return "Uninitialized";
    case INVALID_ARGUMENT: return "Invalid Argument";
    case NOT_SUPPORTED: return "Not Supported";
    case NOT_FOUND: return "Not Found";
    case 9: return "Driver Not Loaded";
    case GPU_IS_LOST: return "GPU is lost";
    case INSUFFICIENT_RESOURCES: return "Insufficient Resources";
    case IN_USE: return "In use by another client";
    case 18: return "Driver/library version mismatch";
    default: return "Unknown Error";
    }
}

static gpu_t *device(void *handle) { return handle; }
static unsigned int index_of(void *handle) { return (unsigned int)(device(handle) - gpus); }
/* An instance's handle points into its GPU: at a slot. */
static gpu_t *owner(void *handle) { return &gpus[((char *)handle - (char *)gpus) / (long)sizeof(gpu_t)]; }
static int slot_of(void *handle) { return (int)((slot_t *)handle - owner(handle)->slots); }
static int is_instance(void *handle) {
    return (char *)handle > (char *)gpus && (char *)handle < (char *)(gpus + count) && handle != (void *)owner(handle);
}
#define CHECK(handle) do { if (!ready) return UNINITIALIZED; \
    if (!(handle) || index_of(handle) >= count) return INVALID_ARGUMENT; \
    if (device(handle)->lost) return GPU_IS_LOST; } while (0)

static int text(char *to, unsigned int size, const char *from) {
    if (strlen(from) + 1 > size) return 7; /* insufficient size */
    strcpy(to, from);
    return OK;
}
int nvmlSystemGetDriverVersion(char *to, unsigned int size) { return ready ? text(to, size, driver) : UNINITIALIZED; }
int nvmlSystemGetNVMLVersion(char *to, unsigned int size) { return ready ? text(to, size, driver) : UNINITIALIZED; }
int nvmlSystemGetCudaDriverVersion(int *to) { *to = 13000; return ready ? OK : UNINITIALIZED; }
int nvmlSystemGetCudaDriverVersion_v2(int *to) { return nvmlSystemGetCudaDriverVersion(to); }
int nvmlDeviceGetCount_v2(unsigned int *to) { *to = count; return ready ? OK : UNINITIALIZED; }
int nvmlDeviceGetCount(unsigned int *to) { return nvmlDeviceGetCount_v2(to); }
int nvmlDeviceGetHandleByIndex_v2(unsigned int index, void **to) {
    if (!ready) return UNINITIALIZED;
    if (index >= count) return INVALID_ARGUMENT;
    *to = &gpus[index];
    return gpus[index].lost ? GPU_IS_LOST : OK;
}
int nvmlDeviceGetHandleByIndex(unsigned int index, void **to) { return nvmlDeviceGetHandleByIndex_v2(index, to); }
int nvmlDeviceGetIndex(void *handle, unsigned int *to) { CHECK(handle); *to = index_of(handle); return OK; }
int nvmlDeviceGetName(void *handle, char *to, unsigned int size) {
    char name[96 + 16];
    CHECK(handle);
    snprintf(name, sizeof name, "simulated GPU %s", model);
    return text(to, size, name);
}
int nvmlDeviceGetUUID(void *handle, char *to, unsigned int size) {
    char uuid[64];
    if (is_instance(handle)) {
        snprintf(uuid, sizeof uuid, "MIG-51300000-0000-4000-8%03d-%012u", slot_of(handle), index_of(owner(handle)));
        return text(to, size, uuid);
    }
    CHECK(handle);
    snprintf(uuid, sizeof uuid, "GPU-51300000-0000-4000-8000-%012u", index_of(handle));
    return text(to, size, uuid);
}
int nvmlDeviceGetMemoryInfo(void *handle, memory_t *to) {
    CHECK(handle);
    to->total = memory_mib << 20;
    to->used = 512ULL << 20;
    to->free = to->total - to->used;
    return OK;
}
int nvmlDeviceGetMemoryInfo_v2(void *handle, memory_v2_t *to) {
    CHECK(handle);
    to->total = memory_mib << 20;
    to->reserved = 0;
    to->used = 512ULL << 20;
    to->free = to->total - to->used;
    return OK;
}
int nvmlDeviceGetPciInfo_v3(void *handle, pci_t *to) {
    CHECK(handle);
    memset(to, 0, sizeof *to);
    snprintf(to->bus_id, sizeof to->bus_id, "0000%.24s", device(handle)->bus);
    snprintf(to->bus_id_legacy, sizeof to->bus_id_legacy, "%.15s", device(handle)->bus);
    sscanf(device(handle)->bus, "%x:%x:%x", &to->domain, &to->bus, &to->device);
    to->pci_device_id = 0x233010de;
    return OK;
}
int nvmlDeviceGetPciInfo(void *handle, pci_t *to) { return nvmlDeviceGetPciInfo_v3(handle, to); }
int nvmlDeviceGetUtilizationRates(void *handle, utilization_t *to) { CHECK(handle); to->gpu = to->memory = 0; return OK; }
int nvmlDeviceGetTemperature(void *handle, int sensor, unsigned int *to) { (void)sensor; CHECK(handle); *to = 34; return OK; }
int nvmlDeviceGetCurrPcieLinkWidth(void *handle, unsigned int *to) { CHECK(handle); *to = 16; return OK; }
int nvmlDeviceGetMaxPcieLinkWidth(void *handle, unsigned int *to) { CHECK(handle); *to = 16; return OK; }
int nvmlDeviceGetEccMode(void *handle, int *current, int *pending) {
    CHECK(handle);
    *current = 1;
    *pending = device(handle)->ecc_pending;
    return OK;
}
int nvmlDeviceGetTotalEccErrors(void *handle, int type, int counter, unsigned long long *to) {
    (void)counter;
    CHECK(handle);
    *to = type == 1 ? device(handle)->ecc : 0;
    return OK;
}
int nvmlDeviceGetMigMode(void *handle, unsigned int *current, unsigned int *pending) {
    CHECK(handle);
    *current = *pending = (unsigned int)device(handle)->mig_pending; /* since Hopper without a reset */
    return OK;
}
int nvmlDeviceGetCudaComputeCapability(void *handle, int *major, int *minor) { CHECK(handle); *major = 9; *minor = 0; return OK; }
int nvmlDeviceGetPersistenceMode(void *handle, int *to) { CHECK(handle); *to = device(handle)->persistence; return OK; }
int nvmlDeviceGetComputeMode(void *handle, int *to) { CHECK(handle); *to = device(handle)->compute_mode; return OK; }
int nvmlDeviceGetSerial(void *handle, char *to, unsigned int size) { CHECK(handle); return text(to, size, "0000000000000"); }
int nvmlDeviceGetVbiosVersion(void *handle, char *to, unsigned int size) { CHECK(handle); return text(to, size, "96.00.74.00.0D"); }
int nvmlDeviceGetRemappedRows(void *handle, unsigned int *right, unsigned int *wrong, unsigned int *pending, unsigned int *failed) {
    CHECK(handle);
    *right = 0;
    *wrong = (unsigned int)(device(handle)->remap_pending || device(handle)->remap_failed);
    *pending = (unsigned int)device(handle)->remap_pending;
    *failed = (unsigned int)device(handle)->remap_failed;
    return OK;
}
int nvmlDeviceGetPowerManagementLimit(void *handle, unsigned int *to) { CHECK(handle); *to = device(handle)->power_limit; return OK; }
int nvmlDeviceGetPowerManagementDefaultLimit(void *handle, unsigned int *to) { CHECK(handle); *to = 700000; return OK; }
int nvmlDeviceGetPowerManagementLimitConstraints(void *handle, unsigned int *least, unsigned int *most) {
    CHECK(handle);
    *least = 200000;
    *most = 700000;
    return OK;
}
int nvmlDeviceGetCurrentClocksEventReasons(void *handle, unsigned long long *to) { CHECK(handle); *to = device(handle)->throttle; return OK; }
int nvmlDeviceGetNvLinkState(void *handle, unsigned int link, int *to) {
    CHECK(handle);
    if (link >= 18) return INVALID_ARGUMENT; /* an H100 SXM has 18 */
    *to = (int)link >= device(handle)->links_down;
    return OK;
}
typedef struct { unsigned int version; unsigned char cluster[16]; unsigned int status, clique; unsigned char state; unsigned int health; } fabric_t;
int nvmlDeviceGetGpuFabricInfoV(void *handle, fabric_t *to) {
    CHECK(handle);
    to->status = OK;
    to->clique = to->health = 0;
    to->state = device(handle)->no_fabric ? 2 : 3; /* in progress, completed */
    return OK;
}
typedef struct {
    unsigned int id, scope;
    long long timestamp, latency;
    unsigned int kind;
    int result;
    union { double number; unsigned int value; unsigned long long wide; } as;
} field_t;
int nvmlDeviceGetFieldValues(void *handle, int many, field_t *to) {
    CHECK(handle);
    for (int at = 0; at < many; at++) {
        to[at].kind = 1; /* unsigned int */
        to[at].result = to[at].id == 230 ? OK : NOT_SUPPORTED; /* the recovery action */
        to[at].as.wide = (unsigned long long)device(handle)->recovery;
    }
    return OK;
}
int nvmlDeviceGetComputeRunningProcesses_v3(void *handle, unsigned int *count_of, void *to) {
    CHECK(handle);
    if (device(handle)->busy && !*count_of) return 7; /* insufficient size: asked for how many there are */
    *count_of = (unsigned int)device(handle)->busy;
    if (*count_of) *(unsigned int *)to = 4242; /* the process's number is the first field */
    return OK;
}

/* What a command sets is appended to the file, and so lost with it: a lab host writes the file anew when it boots. */
static int keep(void *handle, const char *name, int value) {
    const char *path = getenv("STEELYARD_LAB_GPUS");
    FILE *file;
    char line[64];
    CHECK(handle);
    file = fopen(path ? path : "/usr/lib/steelyard-lab/gpus.conf", "a");
    if (!file) return 4; /* no permission */
    snprintf(line, sizeof line, "%u %s %d", index_of(handle), name, value);
    fprintf(file, "set=%s\n", line);
    fclose(file);
    setting(line);
    return OK;
}
int nvmlDeviceSetPersistenceMode(void *handle, int mode) { return keep(handle, "persistence", mode); }
int nvmlDeviceSetPowerManagementLimit(void *handle, unsigned int limit) { return keep(handle, "power_limit", (int)(limit / 1000)); }
int nvmlDeviceSetComputeMode(void *handle, int mode) { return keep(handle, "compute_mode", mode); }
int nvmlDeviceSetEccMode(void *handle, int mode) { return keep(handle, "ecc", mode); }
int nvmlDeviceSetMigMode(void *handle, unsigned int mode, int *status) { *status = OK; return keep(handle, "mig", (int)mode); }
int nvmlDeviceSetGpuLockedClocks(void *handle, unsigned int least, unsigned int most) {
    (void)least;
    return keep(handle, "clocks", (int)most);
}

typedef struct {
    unsigned int version, id, peer, slices, instances, processors, copy, decoders, encoders, jpeg, flow;
    unsigned long long memory;
    char name[96];
} gpu_profile_t;
typedef struct { unsigned int version, id, slices, instances, processors, copy, decoders, encoders, jpeg, flow; char name[96]; } compute_profile_t;
typedef struct { void *device; unsigned int id, profile, start, size; } gpu_instance_t;

int nvmlDeviceGetGpuInstanceProfileInfoV(void *handle, unsigned int profile, gpu_profile_t *to) {
    CHECK(handle);
    if (profile >= PROFILES) return NOT_SUPPORTED;
    to->id = profiles[profile].id;
    to->slices = profiles[profile].slices;
    to->memory = memory_mib * profiles[profile].memory / 8;
    return text(to->name, sizeof to->name, profiles[profile].name);
}
int nvmlDeviceGetGpuInstances(void *handle, unsigned int profile, void **to, unsigned int *many) {
    CHECK(handle);
    *many = 0;
    for (int at = 0; at < SLOTS; at++) {
        slot_t *slot = &device(handle)->slots[at];
        if (slot->used && profiles[slot->profile].id == profile) to[(*many)++] = slot;
    }
    return OK;
}
int nvmlGpuInstanceGetInfo(void *handle, gpu_instance_t *to) {
    to->device = owner(handle);
    to->id = (unsigned int)slot_of(handle) + 1;
    to->profile = profiles[((slot_t *)handle)->profile].id;
    return OK;
}
int nvmlGpuInstanceGetComputeInstanceProfileInfoV(void *handle, unsigned int profile, unsigned int engine, compute_profile_t *to) {
    (void)engine;
    if (profile >= PROFILES || profiles[profile].slices > profiles[((slot_t *)handle)->profile].slices) return NOT_SUPPORTED;
    to->id = profile;
    to->slices = profiles[profile].slices;
    return OK;
}
int nvmlGpuInstanceGetComputeInstances(void *handle, unsigned int profile, void **to, unsigned int *many) {
    slot_t *slot = handle;
    *many = slot->filled && (unsigned int)slot->profile == profile;
    if (*many) to[0] = slot;
    return OK;
}
int nvmlDeviceGetMaxMigDeviceCount(void *handle, unsigned int *to) { CHECK(handle); *to = SLOTS; return OK; }
int nvmlDeviceGetMigDeviceHandleByIndex(void *handle, unsigned int index, void **to) {
    CHECK(handle);
    if (index >= SLOTS || !device(handle)->slots[index].used || !device(handle)->slots[index].filled) return NOT_FOUND;
    *to = &device(handle)->slots[index];
    return OK;
}
int nvmlDeviceGetGpuInstanceId(void *handle, unsigned int *to) { *to = (unsigned int)slot_of(handle) + 1; return OK; }
int nvmlDeviceCreateGpuInstance(void *handle, unsigned int id, void **to) {
    int profile = profile_of(id), slot;
    CHECK(handle);
    if (!device(handle)->mig_pending || profile < 0) return NOT_SUPPORTED;
    slot = room(device(handle), profile);
    if (slot < 0) return INSUFFICIENT_RESOURCES;
    *to = &device(handle)->slots[slot];
    return keep(handle, "gi+", (int)id);
}
int nvmlGpuInstanceDestroy(void *handle) {
    if (((slot_t *)handle)->filled || owner(handle)->busy) return IN_USE;
    return keep(owner(handle), "gi-", slot_of(handle));
}
int nvmlGpuInstanceCreateComputeInstance(void *handle, unsigned int profile, void **to) {
    if ((unsigned int)((slot_t *)handle)->profile != profile) return NOT_SUPPORTED;
    *to = handle;
    return keep(owner(handle), "ci+", slot_of(handle));
}
int nvmlComputeInstanceDestroy(void *handle) {
    if (owner(handle)->busy) return IN_USE;
    return keep(owner(handle), "ci-", slot_of(handle));
}
