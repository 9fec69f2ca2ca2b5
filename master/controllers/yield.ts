/** Lets other work of the event loop run before a long loop goes on. */
export const yieldNow = (): Promise<void> => new Promise((resolve) => setImmediate(resolve));
