// What <sys/event.h> of a system with kqueue declares, as far as the kqueue
// kernel uses it, for the test double (kqueue_double.h). A flavour of the
// double is chosen by macros:
//
//   AIOS_KQUEUE_FLAVOUR                 its name, a suffix of all symbols
//   AIOS_KQUEUE_HAS_USER_FILTER         0: there is no EVFILT_USER
//   AIOS_KQUEUE_HAS_INTEGER_UDATA       1: `udata` is an integer
//
// The names get the suffix so that one program can hold several flavours, each
// with the same sources compiled against its own declarations.

#ifndef AIOS_TESTS_KQUEUE_DOUBLE_SYS_EVENT_H_
#define AIOS_TESTS_KQUEUE_DOUBLE_SYS_EVENT_H_

#include <sys/types.h>
#include <time.h>

#include <cstdint>

#define AIOS_KQUEUE_JOIN_NOW(name, flavour) name##_##flavour
#define AIOS_KQUEUE_JOIN(name, flavour) AIOS_KQUEUE_JOIN_NOW(name, flavour)

#define kqueue AIOS_KQUEUE_JOIN(kqueue, AIOS_KQUEUE_FLAVOUR)
#define kevent AIOS_KQUEUE_JOIN(kevent, AIOS_KQUEUE_FLAVOUR)

#define EVFILT_READ (-1)
#define EVFILT_WRITE (-2)
#if AIOS_KQUEUE_HAS_USER_FILTER
#define EVFILT_USER (-11)
#define NOTE_TRIGGER 0x01000000
#endif

#define EV_ADD 0x0001
#define EV_DELETE 0x0002
#define EV_ENABLE 0x0004
#define EV_DISABLE 0x0008
#define EV_CLEAR 0x0020
#define EV_RECEIPT 0x0040
#define EV_ERROR 0x4000
#define EV_EOF 0x8000

// The order of the members is that of no system.
struct kevent {
  uint32_t fflags;
  int16_t filter;
  uint16_t flags;
#if AIOS_KQUEUE_HAS_INTEGER_UDATA
  intptr_t udata;
#else
  void* udata;
#endif
  uintptr_t ident;
  int64_t data;
};

#define EV_SET(event, a, b, c, d, e, f) \
  do {                                  \
    struct kevent* to_set = (event);    \
    to_set->ident = (a);                \
    to_set->filter = (b);               \
    to_set->flags = (c);                \
    to_set->fflags = (d);               \
    to_set->data = (e);                 \
    to_set->udata = (f);                \
  } while (false)

int kqueue();
int kevent(int kq, const struct kevent* changes, int change_count,
           struct kevent* events, int event_count, const timespec* timeout);

#endif  // AIOS_TESTS_KQUEUE_DOUBLE_SYS_EVENT_H_
