import type { Writable } from 'node:stream';

/** Writes to a Node stream; resolves when it has room for more, or is over. Never rejects: what went wrong shows at its reader. */
export function pacedWrite(to: Writable, bytes: Uint8Array): Promise<void> {
  if (to.destroyed || to.writableEnded || to.write(bytes)) return Promise.resolve();
  return new Promise((resolve) => {
    const done = (): void => {
      to.off('drain', done);
      to.off('close', done);
      resolve();
    };
    to.once('drain', done);
    to.once('close', done);
  });
}
