import type { Kind } from '../../shared/kind.ts';
import type { KubeObject } from '../../shared/meta.ts';
import type { Entry, Store } from '../store/store.ts';
import { parseDocument } from './cache.ts';
import type { KindChange } from './types.ts';

export interface Reader {
  readonly kinds: readonly Kind[];
  /**
   * Takes one stored object as an ADDED change, whose `bytes` are good during the call only, with its key in the store.
   * The change is shared with other readers: never mutate it.
   */
  readonly take: (object: KindChange, key: string) => void;
}

/** A reader whose turn it is, or will be. */
interface Place extends Reader {
  readonly prefixes: ReadonlySet<string>;
  readonly signal: AbortSignal;
  readonly done: () => void;
  readonly failed: (error: unknown) => void;
}

/** Objects read before other work gets its turn. */
const slice = 128;

/**
 * Reads the store for all who begin at about the same time, as the parts of a master do when it starts: each object is
 * fetched and parsed once, be there one reader of its kind or five. Who comes while a pass is under way waits for the next.
 * What is read is not kept: a pass over a large store would only drive out of the cache what is in use.
 */
export class Listing {
  readonly #store: Store;
  readonly #kinds: readonly Kind[];
  #waiting: Place[] = [];
  #reading = false;

  /** `kinds`: all that there are, in the order in which they are read. */
  constructor(store: Store, kinds: readonly Kind[]) {
    this.#store = store;
    this.#kinds = kinds;
  }

  /**
   * Hands every stored object of the reader's kinds to it, kind by kind and in key order. An object that is written
   * meanwhile comes as it was or as it is. Resolves when all were read, or soon after `signal` aborts.
   * Rejects with what `take` throws; other readers are not concerned.
   */
  read(reader: Reader, signal: AbortSignal): Promise<void> {
    return new Promise((done, failed) => {
      this.#waiting.push({ ...reader, prefixes: new Set(reader.kinds.map(({ prefix }) => prefix)), signal, done, failed });
      if (!this.#reading) void this.#readAll();
    });
  }

  async #readAll(): Promise<void> {
    this.#reading = true;
    await turn();
    while (this.#waiting.length > 0) await this.#pass(new Set(this.#waiting.splice(0)));
    this.#reading = false;
  }

  async #pass(places: Set<Place>): Promise<void> {
    try {
      for (const kind of this.#kinds) await this.#readKind(kind, places);
    } catch (error) {
      for (const { failed } of places) failed(error);
    }
    for (const { done } of places) done();
  }

  async #readKind(kind: Kind, places: Set<Place>): Promise<void> {
    leave(places);
    const takers = new Set([...places].filter(({ prefixes }) => prefixes.has(kind.prefix)));
    if (takers.size === 0) return;
    let count = 0;
    for (const entry of this.#store.range(kind.prefix, { brief: true })) {
      const object = asAdded(kind, entry);
      for (const taker of takers) {
        if (give(taker, object, entry.key)) continue;
        takers.delete(taker);
        places.delete(taker);
      }
      if (++count % slice !== 0) continue;
      await turn();
      leave(places);
      for (const taker of takers) if (!places.has(taker)) takers.delete(taker);
      if (takers.size === 0) return;
    }
  }
}

const turn = (): Promise<void> => new Promise((resolve) => setImmediate(resolve));

/** Those whose signal has aborted get nothing more. */
function leave(places: Set<Place>): void {
  for (const place of places) {
    if (!place.signal.aborted) continue;
    places.delete(place);
    place.done();
  }
}

function give({ take, failed }: Place, object: KindChange, key: string): boolean {
  try {
    take(object, key);
    return true;
  } catch (error) {
    failed(error);
    return false;
  }
}

function asAdded(kind: Kind, { revision, bytes }: Entry): KindChange {
  const object = parseDocument<KubeObject>(bytes);
  return { kind, namespace: object.metadata.namespace ?? '', name: object.metadata.name ?? '', revision, type: 'ADDED', bytes, object, previous: undefined };
}
