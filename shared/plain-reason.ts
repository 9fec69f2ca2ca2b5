/** What went wrong with a file, by the system's code, as a person would say it. */
const reasons: Readonly<Record<string, string>> = {
  ENOENT: 'it does not exist',
  ENOTDIR: 'a part of its path is a file, not a directory',
  EISDIR: 'it is a directory, not a file',
  EEXIST: 'it exists already',
  EACCES: 'no permission; are you not root?',
  EPERM: 'no permission; are you not root?',
  EROFS: 'its file system is read-only',
  ENOSPC: 'its disk is full',
  EDQUOT: 'its disk is full',
  EMFILE: 'too many files are open',
  ENFILE: 'too many files are open',
  ELOOP: 'its symbolic links go round in a circle',
  ENAMETOOLONG: 'the name is too long',
  EIO: 'its disk does not work',
};

/** Why a file or directory could not be used, to go after its name in one line: `it does not exist`; else the error's own words. */
export function plainReason(error: unknown): string {
  const { code, syscall, message } = error as NodeJS.ErrnoException;
  if (code === 'EEXIST' && syscall === 'mkdir') return 'it is a file, not a directory';
  return reasons[code ?? ''] ?? message.split('\n')[0]!;
}

/** An error as one line: one of the system's about a file with its path and in words, else what it says of itself. */
export function plainLine(error: unknown): string {
  const { code, path, syscall, message } = error as NodeJS.ErrnoException;
  const text = path !== undefined && syscall !== 'connect' && reasons[code ?? ''] !== undefined ? `cannot use ${path}: ${plainReason(error)}` : message;
  return text.trim().replaceAll(/\s*\n\s*/g, ' ');
}
