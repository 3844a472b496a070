/** Files, without holding up the loop: every call runs in the blocking pool. */
#ifndef PROA_FILE_H
#define PROA_FILE_H

#include <proa/arena.h>
#include <proa/error.h>
#include <proa/loop.h>

PROA_BEGIN_DECLS

/** Reads a whole file of at most `max_bytes` (PROA_ETOOLARGE above) into the arena, with a NUL behind.
 *  May suspend. @returns 0, PROA_ENOTFOUND, PROA_EFORBIDDEN, PROA_EIO, …; err names the file. */
PROA_MUST_USE int proa_file_read(struct proa_loop *loop, struct proa_arena *arena, const char *path, size_t max_bytes,
                                 proa_str *ret_content, struct proa_error *err);
/** Replaces a file's content so that after a crash either the old or the new is there (temporary file in
 *  the same folder, fsync, rename, fsync of the folder). May suspend. */
PROA_MUST_USE int proa_file_write(struct proa_loop *loop, const char *path, proa_str content, unsigned mode,
                                  struct proa_error *err);

struct proa_file;
/** open(2) with O_CLOEXEC added. May suspend. */
PROA_MUST_USE int proa_file_open(struct proa_loop *loop, const char *path, int flags, unsigned mode,
                                 struct proa_file **ret_file, struct proa_error *err);
/** May suspend. NULL is fine. */
void proa_file_close(struct proa_file *file);
/** At an offset; fewer bytes only at the end of the file. May suspend. */
PROA_MUST_USE int proa_file_read_at(struct proa_file *file, uint64_t offset, void *out, size_t bytes, size_t *ret_bytes,
                                    struct proa_error *err);
/** All of it. May suspend. */
PROA_MUST_USE int proa_file_write_at(struct proa_file *file, uint64_t offset, proa_str bytes, struct proa_error *err);
/** Waits until what was written is on the disk (fsync(2)). May suspend. */
PROA_MUST_USE int proa_file_sync(struct proa_file *file, struct proa_error *err);

PROA_END_DECLS
#endif
