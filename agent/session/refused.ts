/** The master will not have this node as it is. Trying again soon is of no use. */
export class RefusedError extends Error {}

/** The master has too much to do just now, and says when to come again. */
export class BusyError extends Error {
  readonly afterMs: number;

  constructor(message: string, afterMs: number) {
    super(message);
    this.afterMs = afterMs;
  }
}
