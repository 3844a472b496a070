/* Switching stacks by Boost.Context's two functions, which have a C interface. */
#include "switch.h"

struct transfer {
    void *from;
    void *data;
};
extern struct transfer jump_fcontext(void *to, void *data);
extern void *make_fcontext(void *stack_top, size_t bytes, void (*entry)(struct transfer));

#if defined(__SANITIZE_ADDRESS__)
#define SWITCH_ASAN 1
#elif defined(__has_feature)
#if __has_feature(address_sanitizer)
#define SWITCH_ASAN 1
#endif
#endif
#if defined(__SANITIZE_THREAD__)
#define SWITCH_TSAN 1
#elif defined(__has_feature)
#if __has_feature(thread_sanitizer)
#define SWITCH_TSAN 1
#endif
#endif

#ifdef SWITCH_ASAN
#include <sanitizer/asan_interface.h>
#include <sanitizer/common_interface_defs.h>
#include <sanitizer/lsan_interface.h>
#define START_SWITCH(save, bottom, bytes) __sanitizer_start_switch_fiber(save, bottom, bytes)
#define FINISH_SWITCH(fake, bottom, bytes) __sanitizer_finish_switch_fiber(fake, bottom, bytes)
#else
#define START_SWITCH(save, bottom, bytes) ((void)(save), (void)(bottom), (void)(bytes))
#define FINISH_SWITCH(fake, bottom, bytes) ((void)(fake), (void)(bottom), (void)(bytes))
#endif

#ifdef SWITCH_TSAN
#include <sanitizer/tsan_interface.h>
#endif

#if defined(PROA_HAVE_VALGRIND)
#include <valgrind/valgrind.h>
#endif

static void first_entry(struct transfer transfer)
{
    struct proa_switch_context *context = transfer.data;

    FINISH_SWITCH(NULL, &context->main->stack_bottom, &context->main->stack_bytes);
    context->point = transfer.from;
    context->entry(context->arg);
    __builtin_unreachable();
}

void switch_init(struct proa_switch_context *context, struct proa_switch_main *main, void *stack, size_t bytes,
                 void (*entry)(void *arg), void *arg)
{
    context->main = main;
    context->entry = entry;
    context->arg = arg;
    context->stack_bottom = stack;
    context->stack_bytes = bytes;
    context->fake_stack = NULL;
    context->tsan = NULL;
    context->point = make_fcontext((char *)stack + bytes, bytes, first_entry);
#ifdef SWITCH_ASAN
    /* The addresses may have been another's stack; and what only a suspended fiber points to is no leak. */
    ASAN_UNPOISON_MEMORY_REGION(stack, bytes);
    __lsan_register_root_region(stack, bytes);
#endif
#ifdef SWITCH_TSAN
    context->tsan = __tsan_create_fiber(0);
#endif
#if defined(PROA_HAVE_VALGRIND)
    context->valgrind_id = VALGRIND_STACK_REGISTER(stack, (char *)stack + bytes);
#endif
}

void switch_done(struct proa_switch_context *context)
{
#ifdef SWITCH_ASAN
    __lsan_unregister_root_region(context->stack_bottom, context->stack_bytes);
    ASAN_UNPOISON_MEMORY_REGION(context->stack_bottom, context->stack_bytes);
#endif
#ifdef SWITCH_TSAN
    __tsan_destroy_fiber(context->tsan);
#endif
#if defined(PROA_HAVE_VALGRIND)
    VALGRIND_STACK_DEREGISTER(context->valgrind_id);
#endif
    context->point = NULL;
}

void switch_enter(struct proa_switch_context *context)
{
    struct transfer transfer;

    START_SWITCH(&context->main->fake_stack, context->stack_bottom, context->stack_bytes);
#ifdef SWITCH_TSAN
    context->main->tsan = __tsan_get_current_fiber();
    __tsan_switch_to_fiber(context->tsan, 0);
#endif
    transfer = jump_fcontext(context->point, context);
    context->point = transfer.from;
    FINISH_SWITCH(context->main->fake_stack, NULL, NULL);
}

void switch_leave(struct proa_switch_context *context)
{
    struct transfer transfer;

    START_SWITCH(&context->fake_stack, context->main->stack_bottom, context->main->stack_bytes);
#ifdef SWITCH_TSAN
    __tsan_switch_to_fiber(context->main->tsan, 0);
#endif
    transfer = jump_fcontext(context->point, NULL);
    context->point = transfer.from;
    FINISH_SWITCH(context->fake_stack, &context->main->stack_bottom, &context->main->stack_bytes);
}
