import { StreamReset, type ByteStream } from '../../shared/byte-stream.ts';
import type { Clock } from '../../shared/clock.ts';
import type { Log } from '../../shared/log.ts';
import type { StreamRequest } from '../../shared/protocol.ts';
import { decodeUsage, type NodeUsage } from '../../shared/usage.ts';

export interface NodeUsagesOptions {
  readonly clock: Clock;
  readonly log: Log;
  /** @throws StreamReset when the node cannot be asked */
  readonly openStream: (node: string, request: StreamRequest) => ByteStream;
}

/** What a node used when it was last asked. */
export interface Measured {
  /** Ms since 1970 by the master's clock. */
  readonly atMs: number;
  readonly usage: NodeUsage;
}

/** An answer serves all who ask within this time; nobody asks for more than a rate over some seconds. */
const freshMs = 10_000;
/** A node that has not answered by now is left out this time, and its answer kept for the next. */
const patienceMs = 10_000;
const limitMs = 30_000;
/** Nodes asked at a time. */
const atOnce = 512;
const maxBytes = 2 ** 20;

interface Asked { readonly atMs: number; readonly done: Promise<Measured | undefined> }

/**
 * What nodes use, asked of them when somebody wants to know and at no other time: a fleet that nobody looks at sends
 * nothing. One question to a node is under way at a time, and serves all.
 */
export class NodeUsages {
  readonly #options: NodeUsagesOptions;
  readonly #asked = new Map<string, Asked>();

  constructor(options: NodeUsagesOptions) {
    this.#options = options;
  }

  /** By node; those that cannot be asked, or do not answer in time, are missing. */
  async of(nodes: Iterable<string>): Promise<Map<string, Measured>> {
    this.#forget();
    const found = new Map<string, Measured>();
    const waiting = [...new Set(nodes)];
    const all = Promise.all(Array.from({ length: Math.min(atOnce, waiting.length) }, async () => {
      for (let node = waiting.shift(); node !== undefined; node = waiting.shift()) {
        const measured = await this.#ask(node);
        if (measured) found.set(node, measured);
      }
    }));
    await Promise.race([all, new Promise<void>((resolve) => {
      const cancel = this.#options.clock.after(patienceMs, () => { waiting.length = 0; resolve(); });
      void all.then(cancel);
    })]);
    return new Map(found);
  }

  #forget(): void {
    const now = this.#options.clock.monotonic();
    for (const [node, { atMs }] of this.#asked) if (now - atMs >= limitMs + freshMs) this.#asked.delete(node);
  }

  #ask(node: string): Promise<Measured | undefined> {
    const atMs = this.#options.clock.monotonic();
    const asked = this.#asked.get(node);
    if (asked && atMs - asked.atMs < freshMs) return asked.done;
    const done = this.#fetch(node).catch((error: unknown) => {
      // The next to ask tries again.
      this.#asked.delete(node);
      if (!(error instanceof StreamReset)) this.#options.log.warn('cannot read what a node uses', { node, error });
      return undefined;
    });
    this.#asked.set(node, { atMs, done });
    return done;
  }

  async #fetch(node: string): Promise<Measured> {
    const { clock, openStream } = this.#options;
    const stream = openStream(node, { type: 'usage' });
    const cancel = clock.after(limitMs, () => stream.reset(504, `node "${node}" does not answer`));
    try {
      stream.end();
      const pieces: Uint8Array[] = [];
      let size = 0;
      for await (const piece of stream) {
        // Copied: a piece may share its frame's memory, and is read later.
        pieces.push(Uint8Array.from(piece));
        size += piece.length;
        if (size > maxBytes) throw new StreamReset(413, 'too much usage');
      }
      return { atMs: clock.now(), usage: decodeUsage(Buffer.concat(pieces)) };
    } finally {
      cancel();
    }
  }
}
