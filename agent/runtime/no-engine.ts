/** What to do about an engine's socket that cannot be reached, by the system's code. */
const advice: Readonly<Record<string, (socket: string) => string>> = {
  ENOENT: (socket) => `there is no Docker engine at ${socket}: the socket does not exist; is Docker installed and running?`,
  ECONNREFUSED: (socket) => `no Docker engine listens on ${socket}; is Docker running?`,
  EACCES: (socket) => `no permission to use the Docker engine at ${socket}: run the agent as root, or as a member of the group that owns the socket`,
  ENOTSOCK: (socket) => `${socket} is no socket of a Docker engine`,
  ENOTDIR: (socket) => `${socket} is no socket of a Docker engine`,
};

/** Why the engine cannot be reached, in a line that says what to do; the error's own message when nothing better is known. */
export function noEngineText(error: NodeJS.ErrnoException & { readonly address?: string }): string {
  const { code = '', syscall, address, message } = error;
  return syscall === 'connect' && address?.startsWith('/') ? advice[code]?.(address) ?? message : message;
}
