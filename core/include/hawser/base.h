/* base.h - what every public header of hawser shares: visibility, time, slices of bytes. */
#ifndef HAWSER_BASE_H
#define HAWSER_BASE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define HWS_VERSION "0.1.0"

#if defined(__GNUC__)
#define HWS_API __attribute__((visibility("default")))
#else
#define HWS_API
#endif

/* Microseconds on one monotonic clock, or a span of them. */
typedef int64_t hws_time_t;

#define HWS_US(n) ((hws_time_t)(n))
#define HWS_MS(n) ((hws_time_t)(n)*1000)
#define HWS_S(n) ((hws_time_t)(n)*1000000)
/* Later than every deadline: "no limit". */
#define HWS_NEVER INT64_MAX

/* Bytes that belong to somebody else; how long they last is said where a slice is handed over. */
typedef struct {
    const char *data;
    size_t size;
} hws_slice_t;

/* Bytes in one growing block: data[head .. tail). Zeroed is a valid empty buffer. */
typedef struct {
    char *data;      /* the block, NULL until the first append */
    size_t head;     /* consumed */
    size_t tail;     /* written */
    size_t capacity; /* of the block */
} hws_buffer_t;

/* The slice of a string literal. */
#define HWS_SLICE(literal) ((hws_slice_t){(literal), sizeof(literal) - 1})

#endif
